"""Bytes that people upload, made into the one form that everything else reads."""

import codecs
from dataclasses import dataclass

BOM = "\ufeff"


class UndecodableText(ValueError):
    """The bytes are not text in the declared encoding."""

    def __init__(self, encoding: str, offset: int, byte: int) -> None:
        self.encoding, self.offset, self.byte = encoding, offset, byte
        super().__init__(
            f"byte 0x{byte:02x} at offset {offset} is not {encoding}: "
            "declare the text's own encoding (for example encoding=latin-1 or encoding=gb18030)"
        )


class UnknownEncoding(ValueError):
    """Python knows no text encoding of that name."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        super().__init__(f"{encoding!r} is not a text encoding that Python knows: try utf-8")


class EmptyText(ValueError):
    """Nothing is left of the text once a BOM is taken off."""

    def __init__(self) -> None:
        super().__init__("the text is empty: upload at least one character")


class UnstorableText(ValueError):
    """The text holds what a database cannot keep: U+0000, or half a surrogate pair."""

    def __init__(self, character: str, position: int) -> None:
        self.character, self.position = character, position
        super().__init__(
            f"character U+{ord(character):04X} at position {position} can't be part of a text: "
            "is this a text file, and in the declared encoding?"
        )


@dataclass(frozen=True, slots=True)
class NormalText:
    """A corpus: no BOM, lines ended by LF, and which characters it has."""

    text: str
    encoding: str
    alphabet: str
    alphabet_lowercase: str


def decode(data: bytes, encoding: str = "utf-8") -> NormalText:
    """Bytes to a corpus.

    Args:
        data: What was uploaded.
        encoding: Its declared encoding, by any name Python knows.

    Raises:
        UnknownEncoding: There is no such text encoding.
        UndecodableText: Naming the offset of the first bad byte.
        EmptyText: Nothing is left.
        UnstorableText: U+0000 or a lone surrogate.
    """
    try:
        info = codecs.lookup(encoding)
    except (LookupError, ValueError):
        raise UnknownEncoding(encoding) from None
    if not info._is_text_encoding:
        raise UnknownEncoding(encoding)
    try:
        text = data.decode(info.name)
    except UnicodeDecodeError as error:
        raise UndecodableText(info.name, error.start, data[error.start]) from None
    except UnicodeError:
        # Some codecs (utf-16 without a whole last unit, idna) say less than where.
        raise UndecodableText(info.name, 0, data[0] if data else 0) from None
    return normalise(text, info.name)


def normalise(text: str, encoding: str = "utf-8") -> NormalText:
    """Take off a BOM, end every line with LF, and collect the alphabet.

    Raises:
        EmptyText: Nothing is left.
        UnstorableText: U+0000 or a lone surrogate.
    """
    text = text.removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        raise EmptyText
    alphabet = "".join(sorted(set(text)))
    for character in alphabet:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise UnstorableText(character, text.index(character))
    # Of the lower-cased text, not of the alphabet: a final Greek sigma has its own letter.
    alphabet_lowercase = "".join(sorted(set(text.lower())))
    return NormalText(text, encoding, alphabet, alphabet_lowercase)
