"""A text as it is stored: built piece by piece, so that an upload never is in memory many times."""

import io
import re
import statistics
import unicodedata
from collections import Counter
from dataclasses import dataclass

from shared.texts.characters import (
    BOM,
    FORMS,
    LINE_ENDS,
    NormalForm,
    forbidden_at,
    has_form,
    plain,
)
from shared.texts.findings import EmptyText, Finding, ForbiddenCharacter
from shared.texts.guesses import LEAST_MOJIBAKE, MOJIBAKE, was_misread
from shared.texts.markup import markup

#: The one letter whose lower case depends on its neighbours: σ within a word, ς at its end.
FINAL_SIGMA = "Σ"
#: Below this a model learns letters rather than words.
FEW_CHARACTERS = 20_000
LIST_LINES = 40
LIST_LINE_CHARACTERS = 40
#: What is looked at of a text's beginning and of its end, to tell what it is.
BEGINNING_CHARACTERS, END_CHARACTERS = 32_000, 4000
#: A text may be cut before these without parting a letter from its marks.
_SAFE_CUT = re.compile(r"[\n -~\u3000-\u9fff](?=[\n -~\u3000-\u9fff])")
#: C1 controls; U+0085 is a line end.
_CONTROLS = frozenset(chr(point) for point in range(0x80, 0xA0) if point != 0x85)
_NAMES = {"\r\n": "CR LF", "\r": "CR", "\x85": "NEL", "\u2028": "U+2028", "\u2029": "U+2029"}


@dataclass(frozen=True, slots=True)
class Part:
    """One of the files that a text was put together from."""

    name: str
    characters: int


@dataclass(frozen=True, slots=True)
class CorpusText:
    """A text as it is stored: UTF-8 without U+FEFF, with LF line ends.

    Attributes:
        data: The text in UTF-8.
        encoding: Of the bytes that it was read from.
        characters: The length of the text.
        alphabet: Its distinct characters, by code point.
        alphabet_lowercase: Those of the lower-cased text.
        normal_form: NFC or NFD if that is how its accents are written; None where both occur,
            or where the two forms are the same.
        findings: What its owner may want to know.
        parts: The files that it was put together from.
    """

    data: bytes
    encoding: str
    characters: int
    alphabet: str
    alphabet_lowercase: str
    normal_form: NormalForm | None
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        """The text itself; a new string at every call."""
        return self.data.decode()


class CorpusBuilder:
    """Takes decoded pieces of a text and gives the whole.

    Args:
        form: The normal form to bring the text to; None leaves it as it is.
    """

    def __init__(self, form: NormalForm | None = None) -> None:
        self._form = form
        self._stored = io.BytesIO()
        self._characters, self._taken = 0, 0
        self._rest, self._rest_of_word = "", ""
        self._alphabet: set[str] = set()
        self._lowercase: set[str] = set()
        self._forms = dict.fromkeys(FORMS, True)
        self._line_ends: Counter[str] = Counter()
        self._marks = self._mojibake = self._controls = 0
        self._beginning = self._end = ""
        self._lines = 0
        self._parts: list[Part] = []

    @property
    def characters(self) -> int:
        """The characters stored so far."""
        return self._characters

    def add(self, piece: str) -> None:
        """Take the next piece.

        Raises:
            ForbiddenCharacter: It has a character that texts must not hold.
        """
        position = forbidden_at(piece)
        if position is not None:
            raise ForbiddenCharacter(piece[position], self._taken + position)
        self._taken += len(piece)
        self._rest += piece
        cut = self._safe_cut()
        ready, self._rest = self._rest[:cut], self._rest[cut:]
        self._keep(ready)

    def end_part(self, name: str, *, last: bool) -> None:
        """End a file. Between two files is a line end, so that no line has words of both."""
        self._keep(self._rest)
        self._rest = ""
        self._taken = 0
        if not last and self._characters and not self._end.endswith("\n"):
            self._keep("\n")
        before = sum(part.characters for part in self._parts)
        self._parts.append(Part(name, self._characters - before))

    def build(self, encoding: str, findings: list[Finding]) -> CorpusText:
        """The whole text, with its findings after those given.

        Raises:
            EmptyText: There is no character.
        """
        if not self._characters:
            raise EmptyText
        self._lowercase.update(self._rest_of_word.lower())
        composed, decomposed = self._forms["NFC"], self._forms["NFD"]
        form: NormalForm | None = None
        if composed != decomposed:
            form = "NFC" if composed else "NFD"
        return CorpusText(
            data=self._stored.getvalue(),
            encoding=encoding,
            characters=self._characters,
            alphabet="".join(sorted(self._alphabet)),
            alphabet_lowercase="".join(sorted(self._lowercase)),
            normal_form=form,
            findings=(*findings, *self._findings(mixed=not composed and not decomposed)),
            parts=tuple(self._parts),
        )

    def _safe_cut(self) -> int:
        """Where the text may be cut: between two characters that no line end or letter joins."""
        for start in (max(0, len(self._rest) - 1000), 0):
            cuts = [found.end() for found in _SAFE_CUT.finditer(self._rest, start)]
            if cuts:
                return cuts[-1]
        return 0

    def _keep(self, piece: str) -> None:
        if not piece:
            return
        self._look_at(piece)
        piece = plain(piece)
        if not piece.isascii():
            if self._form is not None:
                piece = unicodedata.normalize(self._form, piece)
            for form in FORMS:
                self._forms[form] = self._forms[form] and has_form(piece, form)
        self._stored.write(piece.encode())
        self._characters += len(piece)
        self._alphabet.update(piece)
        self._lines += piece.count("\n")
        self._lower(piece)
        if len(self._beginning) < BEGINNING_CHARACTERS:
            self._beginning += piece[: BEGINNING_CHARACTERS - len(self._beginning)]
        self._end = (self._end + piece[-END_CHARACTERS:])[-END_CHARACTERS:]

    def _look_at(self, piece: str) -> None:
        """Count what `plain` takes away, and what looks wrong."""
        double = piece.count("\r\n")
        for end in LINE_ENDS:
            found = piece.count(end) - (double if end == "\r" else 0)
            if found:
                self._line_ends[end] += found
        if not piece.isascii():
            self._marks += piece.count(BOM)
            self._controls += sum(map(piece.count, _CONTROLS.intersection(piece)))
            if any(beginning in piece for beginning in ("Ã", "Â", "â€")):
                self._mojibake += len(MOJIBAKE.findall(piece))

    def _lower(self, piece: str) -> None:
        """Collect the lower-cased text's characters, as a worker that streams it lower-cases it."""
        if not self._rest_of_word and FINAL_SIGMA not in piece:
            self._lowercase.update(piece.lower())
            return
        text = self._rest_of_word + piece
        end = 1 + max(text.rfind(" "), text.rfind("\n"))
        self._lowercase.update(text[:end].lower())
        self._rest_of_word = text[end:]

    def _findings(self, *, mixed: bool) -> list[Finding]:
        found = []
        if self._line_ends:
            kinds = " and ".join(f"{n:,} {_NAMES[end]}" for end, n in self._line_ends.most_common())
            found.append(Finding("line_ends", f"line ends became LF: {kinds}"))
        if self._marks > 1:
            found.append(
                Finding("inner_bom", f"{self._marks:,} byte order marks (U+FEFF) were removed")
            )
        if mixed:
            found.append(
                Finding(
                    "mixed_forms",
                    "accented letters are written in two ways, composed (NFC) and with combining "
                    "marks (NFD), which a model takes for different letters",
                    ("upload the text with normalize=nfc",),
                )
            )
        pairs = self._mojibake >= LEAST_MOJIBAKE
        if pairs or was_misread(self._beginning):
            what = f"{self._mojibake:,} pairs such as «Ã©» or «â€™» look" if pairs else "it looks"
            found.append(
                Finding(
                    "mojibake",
                    f"{what} like a text that was once read in a wrong encoding",
                    ("upload the original file, from before it was converted",),
                )
            )
        if self._controls:
            found.append(
                Finding(
                    "controls",
                    f"{self._controls:,} invisible control characters (U+0080 to U+009F) are in "
                    "the text, mostly quotes and dashes that were read in the wrong encoding",
                    ("upload the original file, from before it was converted",),
                )
            )
        found += markup(self._beginning, self._end)
        is_table = any(finding.code in ("csv", "json") for finding in found)
        if not is_table and (items := self._list()) is not None:
            found.append(items)
        if self._characters < FEW_CHARACTERS:
            found.append(
                Finding(
                    "few_characters",
                    f"{self._characters:,} characters are few: a model will learn letters and "
                    "short words, or the text by heart",
                    ("add more texts of the same kind",),
                )
            )
        return found

    def _list(self) -> Finding | None:
        """A finding if the text is a list: many short lines, and no blank ones."""
        lines = self._beginning.split("\n")[:-1]
        if len(lines) < LIST_LINES or any(not line.strip() for line in lines):
            return None
        if max(map(len, lines)) > LIST_LINE_CHARACTERS:
            return None
        return Finding(
            "list",
            f"{self._lines:,} lines, median {statistics.median(map(len, lines)):.0f} characters: a "
            "list?",
            ("declare items=lines, and a model learns and writes whole items",),
        )
