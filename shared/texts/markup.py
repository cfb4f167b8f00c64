"""What a text's beginning and end say of it: markup, a table, subtitles, a licence."""

import csv
import json
import re
from collections.abc import Callable

from shared.texts.findings import Finding

#: Tags that stand for themselves, and closing tags of those that a text could have by chance.
_HTML = re.compile(
    r"<!doctype html|<(html|p|div|br|hr|span|body|head|table|tr|td|ul|ol|li|h[1-6]|img|script|style"
    r"|blockquote|pre|font|center)(\s[^<>]{0,300})?/?>|</(a|b|i|u|em|strong|sup|sub)>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(amp|nbsp|quot|lt|gt|mdash|ndash|rsquo|ldquo|#\d{2,5});")
#: Fewer entities may be an example in a text.
_MANY_ENTITIES = 3
_XML = re.compile(r"\s*<\?xml\s")
_ROOT = re.compile(r"\s*<([A-Za-z][\w:.-]*)(\s[^<>]*)?>")
_JSON = re.compile(r"\s*[\[{]\s*[\[{\"]")
_LATEX = re.compile(r"\\(documentclass|begin\{document\})")
_SUBTITLES = re.compile(r"\d\d:\d\d[,.:]\d{2,3}\S* --> \d\d:")
#: A table has the same number of fields in at least this many rows.
_TABLE_ROWS = 3
_TABLE_LINES = 20
_LICENCE = re.compile(
    r"end of (the |this )?project gutenberg|project gutenberg(-tm|™)? license|"
    r"creative commons|licensed under the", re.IGNORECASE
)  # fmt: skip


def markup(beginning: str, end: str) -> list[Finding]:
    """What a text's beginning and end say of it, of which the first kind that fits is told."""
    findings = []
    for code, looks_so, what, way in _KINDS:
        if looks_so(beginning, end):
            findings.append(Finding(code, what, (way,)))
            break
    if _LICENCE.search(end):
        findings.append(
            Finding(
                "licence",
                "the text seems to end with a licence, which a model learns as well",
                ("cut the licence off before you upload the text",),
            )
        )
    return findings


def _is_html(beginning: str, _end: str) -> bool:
    return bool(_HTML.search(beginning)) or len(_ENTITY.findall(beginning)) >= _MANY_ENTITIES


def _is_xml(beginning: str, end: str) -> bool:
    if _XML.match(beginning):
        return True
    root = _ROOT.match(beginning)
    return root is not None and root[1] != "html" and end.rstrip().endswith(f"</{root[1]}>")


def _is_json(beginning: str, _end: str) -> bool:
    first = next((line for line in beginning.split("\n") if line.strip()), "").strip()
    if first in ("{", "["):
        return _JSON.match(beginning) is not None
    try:
        value = json.loads(first) if first.startswith(("{", "[")) else None
    except (ValueError, RecursionError):
        return False
    return bool(value)


def _is_latex(beginning: str, _end: str) -> bool:
    return bool(_LATEX.search(beginning))


def _has_subtitles(beginning: str, _end: str) -> bool:
    return bool(_SUBTITLES.search(beginning))


def _is_table(beginning: str, _end: str) -> bool:
    # The log of a terminal has separators within its escape sequences.
    return "\x1b" not in beginning and any(
        _is_separated(beginning, separator) for separator in ",;\t|"
    )


def _is_separated(text: str, separator: str) -> bool:
    """Whether the rows have equally many fields. After a comma of prose is a space."""
    rows: list[list[str]] = []
    lines = (f"{line}\n" for line in text.split("\n")[:-1])
    try:
        for row in csv.reader(lines, delimiter=separator):
            rows += [row] if row else []
            if len(rows) == _TABLE_LINES:
                break
    except csv.Error:
        return False
    if len(text) >= MAYBE_CUT and len(rows) < _TABLE_LINES:
        rows = rows[:-1]
    if len(rows) < _TABLE_ROWS or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return False
    spaced = sum(field.startswith(" ") for row in rows for field in row[1:])
    return separator in "\t|" or 2 * spaced < len(rows) * (len(rows[0]) - 1)


#: A beginning of this length may end within a row.
MAYBE_CUT = 10_000
_KINDS: tuple[tuple[str, Callable[[str, str], bool], str, str], ...] = (
    ("json", _is_json, "the text is JSON, and a model will learn its quotes and braces",
     "export the texts in it, one after the other, and upload that; or of JSON lines, name the "
     "field that holds the texts: items=column column=NAME"),
    ("latex", _is_latex, "the text is LaTeX, and a model will learn to write commands",
     "convert it to plain text, for example with pandoc"),
    ("subtitles", _has_subtitles,
     "the text has the times of subtitles, and a model will learn to write them",
     "remove the numbers and times, and upload the rest"),
    ("html", _is_html, "the text has HTML markup, and a model will learn to write tags",
     "save the page as plain text and upload that"),
    ("xml", _is_xml, "the text is XML, and a model will learn to write tags",
     "extract the text between the tags and upload that"),
    ("csv", _is_table,
     "the text looks like a table (CSV), and a model will learn its separators too",
     "name the column that holds the texts: items=column column=NAME"),
)  # fmt: skip
