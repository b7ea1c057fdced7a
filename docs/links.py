"""Hook of MkDocs: adds the README and every file that a page links to, and makes their links work on the site.

On a code host a page of docs/ links to `../results/full/report.md`. On the site docs/ is the root, and the rest of the
repository lies beside it under its own path: there the same page links to `results/full/report.md`.
"""

import os.path
import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[1]
STYLE = "code.css"  # colours of code; the theme would load them from elsewhere
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")  # a relative target, without its anchor
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README, all that it and the pages link to, and the style of code."""
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
    files.append(File.generated(config, STYLE, content=HtmlFormatter().get_style_defs(".highlight")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page between files of the repository into links between files of the site."""
    place = page.file.src_uri
    here = place if page.file.generated_by else f"docs/{place}"

    def moved(match: re.Match[str]) -> str:
        target = resolved(here, match[1]).removeprefix("docs/")
        return os.path.relpath(target, PurePosixPath(place).parent)

    return outside_of_code(markdown, lambda text: LINK.sub(moved, text))


def targets(path: str) -> set[str]:
    """The files of the repository that a page links to."""
    text = CODE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    return {resolved(path, urllib.parse.unquote(target)) for target in LINK.findall(text)}


def resolved(path: str, target: str) -> str:
    """Where a link on the page `path` leads, from the root of the repository."""
    return os.path.normpath(PurePosixPath(path).parent / target)


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """Changes a text, but not the code in it."""
    pieces, last = [], 0
    for code in CODE.finditer(text):
        pieces += [change(text[last : code.start()]), code[0]]
        last = code.end()
    return "".join([*pieces, change(text[last:])])
