"""What was seen in a text, as data; and the errors of texts that are refused."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

#: Why a text is refused. Programs rely on these names, so that none is ever renamed.
RefusalCode = Literal[
    "empty",
    "forbidden_character",
    "unknown_character",
    "unknown_encoding",
    "not_utf_8",
    "partly_utf_8",
    "not_in_encoding",
    "other_encoding",
    "controls",
    "not_a_text",
    "not_items",
    "damaged_archive",
    "empty_archive",
    "too_many_files",
    "too_large",
    "too_dense",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a text that its owner wants to know.

    Attributes:
        code: A stable name for programs.
        message: One sentence for people.
        ways: What can be done about it, each as one sentence.
    """

    code: str
    message: str
    ways: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {**asdict(self), "ways": list(self.ways)}


class RefusedText(ValueError):
    """A text that can't be taken. The message says why, and what to do.

    Args:
        code: Why it is refused.
        message: What is wrong.
        ways: What can be done about it, each as one sentence.
    """

    field = "text"

    def __init__(self, code: RefusalCode, message: str, *ways: str) -> None:
        self.finding = Finding(code, message, ways)
        super().__init__(": ".join([message, "; or ".join(ways)] if ways else [message]))


class NotThisEncoding(RefusedText):
    """The bytes are not a text in the encoding that they are read in."""


class UnknownEncoding(RefusedText):
    """The name is not one of the encodings that texts may have."""

    field = "encoding"


class EmptyText(RefusedText):
    """The text is empty after its BOM is removed."""

    def __init__(self) -> None:
        super().__init__("empty", "the text is empty", "upload at least one character")


class ForbiddenCharacter(RefusedText):
    """The text contains U+0000, a lone surrogate or a noncharacter."""

    def __init__(self, character: str, position: int, *ways: str) -> None:
        self.character, self.position = character, position
        super().__init__(
            "forbidden_character",
            f"character U+{ord(character):04X} at position {position} can't be stored",
            *(ways or ("check that this is a text file in the declared encoding",)),
        )


class NotAText(RefusedText):
    """The bytes are a file of another kind: a document, an image, an archive."""


class TextTooLarge(RefusedText):
    """An archive holds more text than an upload may have."""
