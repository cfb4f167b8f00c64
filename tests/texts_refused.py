"""One example of every reason for which a text is refused, as bytes of an upload."""

import gzip
import io
import zipfile

QUOTED = "“The lantern – don’t touch it…” said Zoë to the keeper of the house.\n" * 30


def zipped(**members: bytes) -> bytes:
    """A zip file of these members."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


#: By their code: the bytes, and the declared encoding. `unknown_character` is of prompts and
#: scores, `too_large` of the server's limit, and `not_items` of lists.
REFUSED: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"\xef\xbb\xbf", None),
    "forbidden_character": (b"It was\0a text", None),
    "unknown_encoding": (b"It was", "klingon"),
    "not_utf_8": (QUOTED.encode("cp1252"), None),
    "partly_utf_8": (QUOTED.encode() + b"a\xff", None),
    "not_in_encoding": (b"It was \x81", "cp1252"),
    "other_encoding": (QUOTED.encode(), "latin-1"),
    "controls": (QUOTED.encode("cp1252"), "latin-1"),
    "not_a_text": (b"%PDF-1.4\n", None),
    "damaged_archive": (gzip.compress(QUOTED.encode())[:40], None),
    "empty_archive": (zipped(), None),
    "too_many_files": (zipped(**{f"{number}.txt": b"a" for number in range(1001)}), None),
    "too_dense": (gzip.compress(bytes(8_000_000)), None),
}
