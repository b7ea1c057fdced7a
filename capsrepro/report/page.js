// Sorts the rows of a table by the column whose header is pressed: up, down, and back to the order of the report.
"use strict";

// The first number of a cell that starts with one: `3.34 (334/10000)`, `+2.95`, `1.73 to 2.28`; a hash is none.
const NUMBER = /^[+\-\u2212]?\d+(?:\.\d+)?(?:e[+\-]?\d+)?(?=$|[\s%(/])/i;

function numberOf(text) {
  const match = NUMBER.exec(text);
  return match ? Number(match[0].replace("\u2212", "-")) : NaN;
}

// Compares two cells; an empty one stands last whichever way the rest goes.
function comparison(numeric, sign) {
  const words = new Intl.Collator("en", { numeric: true });
  return (left, right) => {
    if (!left.text || !right.text) return Number(!left.text) - Number(!right.text);
    return sign * (numeric ? numberOf(left.text) - numberOf(right.text) : words.compare(left.text, right.text));
  };
}

function sort(body, original, column, direction) {
  let rows = original;
  if (direction !== "none") {
    const keyed = original.map((row) => ({ row, text: row.cells[column].textContent.trim() }));
    const numeric = keyed.every(({ text }) => !text || !Number.isNaN(numberOf(text)));
    rows = keyed.sort(comparison(numeric, direction === "ascending" ? 1 : -1)).map(({ row }) => row);
  }
  body.append(...rows);
}

// Without this script the headers are plain text.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[header.getAttribute("aria-sort")];
      for (const other of headers) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", next);
      sort(body, original, column, next);
    });
  });
}
