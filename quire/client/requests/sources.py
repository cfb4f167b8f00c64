"""What a training learns from: paths, several of them, a text, or a corpus of the server."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from quire.client.requests.sendable import check_sendable
from quire.client.requests.uploads import Data, unreadable
from quire.errors import InvalidInput

MOST_FILES = 1000
PIECE_CHARACTERS = 1 << 20
#: The name of a corpus that comes from no file.
TEXT_NAME = "text"

Paths = str | Path | Sequence[str | Path]


def find_files(paths: Sequence[str | Path]) -> list[tuple[str, Path]]:
    """Return files, and the files of folders in the order of their names, each with its name.

    Raises:
        InvalidInput: A folder has no files, or more than `MOST_FILES`.
    """
    files: list[tuple[str, Path]] = []
    for given in paths:
        path = Path(given).expanduser()
        if not path.is_dir():
            files.append((printable(path.name), path))
            continue
        found = sorted(
            each for each in path.rglob("*") if each.is_file() and not each.name.startswith(".")
        )
        if not found:
            raise InvalidInput(f"{given} is a folder without files: name one with texts")
        if len(found) > MOST_FILES:
            raise InvalidInput(
                f"{given} has {len(found):,} files; at most {MOST_FILES:,} make one corpus"
            )
        files += [(printable(str(each.relative_to(path))), each) for each in found]
    return files


def read_source(paths: Paths | None, text: str | None) -> tuple[str, Data]:
    """Return the name and the data of the corpus that is made of files or of a text.

    Raises:
        InvalidInput: Neither is given, or both, or a file can't be read.
    """
    if (paths is None) == (text is None):
        raise InvalidInput(
            "give one of both: a path, several, or a corpus of the server; or a text as text=…"
        )
    if text is not None:
        check_sendable("text", text)
        return TEXT_NAME, text.encode()
    given = [paths] if isinstance(paths, str | Path) else list(paths or ())
    if not given:
        raise InvalidInput("there are no paths: give at least one")
    for each in given:
        if not isinstance(each, str | Path):
            raise InvalidInput(
                f"{each!r} is no path: give a str or Path, several of them, or a corpus"
            )
    files = find_files(given)
    for _, path in files:
        try:
            path.stat()
        except (OSError, ValueError) as error:
            raise _no_file(path, error) from None
    name = corpus_name(given[0])
    return name, files[0][1] if len(files) == 1 else files


def corpus_name(path: str | Path) -> str:
    """The name that a corpus gets from a file or folder."""
    return printable(Path(path).stem or Path(path).resolve().name)


def printable(name: str) -> str:
    """A file's name without bytes that are no UTF-8."""
    return name.encode(errors="replace").decode()


def stored_sha256(data: Data) -> str | None:
    """Return the digest that the server has of a text, where that is known without decoding it.

    The server stores UTF-8 with LF line ends and without byte order marks. None for several files
    and for what is not UTF-8; the digest of a text that is changed in another way is nobody's.
    """
    if not isinstance(data, bytes | Path):
        return None
    digest = hashlib.sha256()
    try:
        raw = io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")
        with io.TextIOWrapper(raw, encoding="utf-8-sig") as lines:
            while piece := lines.read(PIECE_CHARACTERS):
                digest.update(piece.encode())
    except UnicodeDecodeError:
        return None
    except OSError as error:
        raise unreadable("the text" if isinstance(data, bytes) else data, error) from None
    return digest.hexdigest()


def _no_file(path: Path, error: OSError | ValueError) -> InvalidInput:
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    shown = str(path)[:80]
    return InvalidInput(
        f"{shown} can't be read: {reason}. A text itself is given as text=…, and a corpus of the "
        "server as what q.corpus(name) returns"
    )
