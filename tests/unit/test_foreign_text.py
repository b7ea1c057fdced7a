"""Text from elsewhere, such as names of files and cells of tables, is shown as one safe line everywhere."""

import csv
import errno
import io
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capsrepro import report
from capsrepro.core import files, params, text
from capsrepro.core.errors import Error
from capsrepro.evidence import comparison, scale, tables
from tests.support import ROOT
from tests.support.archives import png

HOSTILE = "<script>alert(1)</script> | `a` [b](javascript:c) \x1b[31m\u202e"


@given(st.text() | st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zs"])), st.integers(20, 60))
def test_any_text_becomes_one_printable_line_of_bounded_length(foreign: str, most: int) -> None:
    shown = text.one_line(foreign, most)
    assert shown.isprintable()
    assert len(shown) <= most
    assert text.whole_line(foreign).isprintable()
    shown.encode()


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        ("Übung \u4e03", "Übung \u4e03"),
        ("a\nb\t c", "a b c"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff", r"\udcff"),
        ("x" * 10_000_000, "x" * 79 + "..." + "x" * 78),
    ],
)
def test_text_is_shown_with_escapes_and_shortened(foreign: str, shown: str) -> None:
    assert text.one_line(foreign) == shown


def test_a_system_error_is_told_with_its_file_and_what_to_do() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a\nb")
    assert text.message(full) == "a b: No space left on device; free some space and run it again"
    assert text.message(OSError(errno.EIO, "broken")) == "[Errno 5] broken; fix that and run it again"
    assert text.message(Error("a\x1b[2Jb")) == r"a\x1b[2Jb"


def test_a_console_of_ascii_shows_every_name() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    text.encode_anything(stream)
    print("sieben-ü-\u4e03", end="", file=stream, flush=True)
    assert stream.buffer.getvalue() == rb"sieben-\xfc-\u4e03"  # type: ignore[attr-defined]


def test_a_file_is_written_in_valid_utf_8_whatever_its_text(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "half \ud800")
    assert (tmp_path / "a").read_text(encoding="utf-8") == r"half \ud800"


@pytest.mark.parametrize("content", [b'{"a": "\\ud800"}', b'{"\\udfff": 1}'])
def test_json_with_half_a_surrogate_pair_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(Error, match="not readable as JSON"):
        files.read_json(tmp_path / "a.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results whose paper.csv and studies have hostile cells and names."""
    rows = list(csv.reader(io.StringIO((ROOT / "results" / "paper.csv").read_text(encoding="utf-8"))))
    rows[1][rows[0].index("what")] = HOSTILE
    rows[1][rows[0].index("where")] = f"Table {HOSTILE}"
    with open(tmp_path / "paper.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    studies, figures = tmp_path / "quick" / "studies", tmp_path / "quick" / "figures"
    studies.mkdir(parents=True)
    figures.mkdir()
    (studies / "a\n# b`<b>.csv").write_text(f'a,b\n1,"{HOSTILE}"\n')
    (figures / "a\n# b](c)<b>.png").write_bytes(png())
    Path(os.fsdecode(os.fsencode(figures) + b"/figure3-\xff.png")).write_bytes(png())
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def test_tables_show_hostile_cells_literally(folder: Path) -> None:
    known = params.read(folder / "params.yaml")
    ours = scale.load(known, folder, "quick")
    tables.write(comparison.with_released(known, folder, ours), ours.results, folder, "quick")
    shown = (folder / "quick" / "table.md").read_text(encoding="utf-8")
    assert "<script>" not in shown
    assert "\x1b" not in shown
    lines = [line for line in shown.splitlines() if "script" in line]
    assert lines
    assert all("&lt;script&gt;" in line and r"\| \`a\` \[b\](javascript:c)" in line for line in lines)
    heads = [line for line in shown.splitlines() if line.startswith("| method")]
    assert heads[0].count("|") == lines[0].replace(r"\|", "").count("|")
    assert "\x1b" not in (folder / "quick" / "table.tex").read_text(encoding="utf-8")


def test_a_report_shows_hostile_cells_and_names_literally(folder: Path) -> None:
    written = report.write(params.read(folder / "params.yaml"), folder, "quick")
    shown, page = (path.read_text(encoding="utf-8") for path in written)
    assert "\n# b" not in shown
    assert "<script>alert" not in shown + page
    assert "<b>" not in page
    assert "<b>" not in re.sub("`[^`\n]*`", "", shown)  # within a code span it is shown as it is
    assert "figures/figure3-%FF.png" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("name", ["..", "a/b", "/etc", "", ".hidden", "a\nb", "a`b", "<b>", "a" * 101, "-x"])
def test_names_that_lead_elsewhere_are_refused_in_settings(name: str, tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["runs"][name] = content["runs"]["mnist-baseline"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(Error, match="expected a name of") as refused:
        params.read(path)
    assert str(refused.value).isprintable()


def test_several_hundred_runs_are_read(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for number in range(300):
        content["runs"][f"run-{number}"] = content["runs"]["mnist-capsnet-r3"]
        content["scale_settings"]["quick"][f"run-{number}"] = {"steps": 5}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    assert len(params.read(tmp_path / "params.yaml").runs) == 300 + len(params.read(ROOT / "params.yaml").runs)


def test_a_parameter_file_of_megabytes_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: 1\n" * 300_000)
    with pytest.raises(Error, match="expected at most 524288 bytes, received 1500000"):
        params.read(tmp_path / "params.yaml")
