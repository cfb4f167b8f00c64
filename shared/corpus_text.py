"""Decoding and normalisation of uploaded texts."""

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
    """Python knows no text encoding of this name."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        super().__init__(f"{encoding!r} is not a text encoding that Python knows: try utf-8")


class EmptyText(ValueError):
    """The text is empty after its BOM is removed."""

    def __init__(self) -> None:
        super().__init__("the text is empty: upload at least one character")


class UnstorableText(ValueError):
    """The text contains what a database cannot store: U+0000 or a lone surrogate."""

    def __init__(self, character: str, position: int) -> None:
        self.character, self.position = character, position
        super().__init__(
            f"character U+{ord(character):04X} at position {position} can't be stored: "
            "check that this is a text file in the declared encoding"
        )


@dataclass(frozen=True, slots=True)
class CorpusText:
    """A normalised corpus: no BOM, LF line ends, and its alphabet."""

    text: str
    encoding: str
    alphabet: str
    alphabet_lowercase: str


def decode(data: bytes, encoding: str = "utf-8") -> CorpusText:
    """Decode and normalise an upload.

    Args:
        data: The uploaded bytes.
        encoding: The declared encoding, by any name that Python knows.

    Raises:
        UnknownEncoding: Python has no such text encoding.
        UndecodableText: A byte is invalid; the message gives the offset of the first.
        EmptyText: The text is empty.
        UnstorableText: The text contains U+0000 or a lone surrogate.
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
        # Some codecs (idna, utf-16 with a truncated last unit) give no position.
        raise UndecodableText(info.name, 0, data[0] if data else 0) from None
    return normalise(text, info.name)


def normalise(text: str, encoding: str = "utf-8") -> CorpusText:
    """Remove a BOM, convert line ends to LF, and collect the alphabet.

    Raises:
        EmptyText: The text is empty.
        UnstorableText: The text contains U+0000 or a lone surrogate.
    """
    text = text.removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        raise EmptyText
    alphabet = "".join(sorted(set(text)))
    for character in alphabet:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise UnstorableText(character, text.index(character))
    # From the lower-cased text, not the alphabet: Greek has a special lower-case final sigma.
    alphabet_lowercase = "".join(sorted(set(text.lower())))
    return CorpusText(text, encoding, alphabet, alphabet_lowercase)
