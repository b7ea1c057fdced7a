"""Hook of MkDocs: the README and every file that a page links to become part of the site, and the links keep working.

On a forge a page of docs/ links to `../results/full/report.md`. On the site docs/ is the root, and the rest of the
repository lies beside the pages under its own path: the same page links to `results/full/report.md`.
"""

import os.path
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")  # a relative target, without its anchor
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README and whatever it, the pages and what they link to lead to."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            found = {target for target in targets(path) if (ROOT / target).is_file()} - seen
            waiting += sorted(found)
            seen |= found
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page between files of the repository into links between files of the site."""
    place = page.file.src_uri
    here = place if files.src_uris[place].generated_by else f"docs/{place}"

    def moved(match: re.Match[str]) -> str:
        target = resolved(here, match[1]).removeprefix("docs/")
        return os.path.relpath(target, os.path.dirname(place) or ".")

    return outside_of_code(markdown, lambda text: LINK.sub(moved, text))


def targets(path: str) -> set[str]:
    """The files of the repository that a page links to."""
    text = CODE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    return {resolved(path, target) for target in LINK.findall(text)}


def resolved(path: str, target: str) -> str:
    """Where a link on the page `path` leads, from the root of the repository."""
    return os.path.normpath(os.path.join(os.path.dirname(path), target))


def outside_of_code(text: str, change: "Callable[[str], str]") -> str:
    """Changes a text, but not the code in it."""
    pieces, last = [], 0
    for code in CODE.finditer(text):
        pieces += [change(text[last : code.start()]), code[0]]
        last = code.end()
    return "".join([*pieces, change(text[last:])])
