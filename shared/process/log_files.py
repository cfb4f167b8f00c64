"""Log files that processes write through descriptors which they inherited: opened, and rotated.

Such a process can't be told to open another file. So the file is copied and emptied, as logrotate's
`copytruncate` does; the writers append, and go on at its beginning. A line that is written between
the end of the copy and the emptying is lost.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FILE = 0o600
COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogLimits:
    """When a log file is rotated.

    Attributes:
        max_bytes: The size past which it is.
        kept_files: How many older files are kept, named ``.1`` (the newest) and so on.
    """

    max_bytes: int = 20 * 1024 * 1024
    kept_files: int = 5


def open_log(path: Path, limits: LogLimits) -> int:
    """Open a log for appending, after it was rotated if it is too large; return the descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rotate(path, limits)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)


def rotate_all(paths: Iterable[Path], limits: LogLimits) -> None:
    """Rotate those logs that are too large. One that can't be, such as on a full disk, stays."""
    for path in paths:
        with suppress(OSError):
            rotate(path, limits)


def rotate(path: Path, limits: LogLimits) -> bool:
    """Rotate a log if it is too large.

    Returns:
        Whether it was.
    """
    if not path.exists() or path.stat().st_size <= limits.max_bytes:
        return False
    if limits.kept_files == 0:
        os.truncate(path, 0)
        return True
    part = path.with_name(f"{path.name}.part")
    try:
        with (
            path.open("rb") as source,
            open(part, "wb", opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE)) as copy,
        ):
            shutil.copyfileobj(source, copy, COPY_BYTES)
            for number in range(limits.kept_files, 1, -1):
                newer = _older(path, number - 1)
                if newer.exists():
                    newer.replace(_older(path, number))
            part.replace(_older(path, 1))
            # What was written meanwhile.
            shutil.copyfileobj(source, copy, COPY_BYTES)
            copy.flush()
            os.truncate(path, 0)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    return True


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
