"""Renders the report as one self-contained HTML page, with style, script and figures inlined."""

import base64
import functools
import re

import jinja2
from markupsafe import Markup, escape

from capsrepro.report.document import Report, linked
from capsrepro.report.figure_files import FigureFile

_MARKS = ((r"`([^`]+)`", r"<code>\1</code>"), (r"\*([^*]+)\*", r"<em>\1</em>"))


def render(report: Report) -> str:
    """Renders the page from page.html, page.css and page.js in this folder; text from files is escaped."""
    text: str = _template().render(report=report)
    return text


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("capsrepro.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "marked": _marked,
        "inlined": _inlined,
        "parted": _parted,
        "slug": _slug,
        "urlencode": linked,
    }
    return environment.get_template("page.html")


def _marked(text: str) -> Markup:
    """Converts `code` and *emphasis* in the report's own text to HTML."""
    escaped = str(escape(text))
    for pattern, replacement in _MARKS:
        escaped = re.sub(pattern, replacement, escaped)
    return Markup(escaped)  # escaped above


def _inlined(picture: FigureFile) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.content).decode("ascii")


def _parted(verdict: str) -> tuple[str, str]:
    """Splits a verdict into its word and the rest: `not run` and `: source unreachable`."""
    word = re.split(r":| \(", verdict)[0]
    return word, verdict.removeprefix(word)


def _slug(word: str) -> str:
    """The CSS class of a verdict's word: `not run` becomes `not-run`."""
    return word.replace(" ", "-")
