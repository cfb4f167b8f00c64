"""The lock of the data directory, which one `quire up` uses at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quire.config import PRIVATE_DIRECTORY, PRIVATE_FILE
from quire.errors import CannotStart, QuireError

LOCK_NAME = "up.lock"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The `quire up` that holds a lock. `url` is None until its API is ready."""

    pid: int
    url: str | None


class DataDirInUse(QuireError):
    """Another `quire up` is using the data directory."""

    def __init__(self, data_dir: Path, holder: LockHolder | None) -> None:
        process = f"process {holder.pid}" if holder else "another process"
        address = f" at {holder.url}" if holder and holder.url else ""
        super().__init__(
            f"`quire up` is already running on {data_dir}{address} ({process}): "
            "use it, stop it, or give another --data-dir"
        )
        self.holder = holder


class DataDirLock:
    """An exclusive lock on a data directory, held while its file is open."""

    def __init__(self, descriptor: int, *, was_killed: bool) -> None:
        self._descriptor = descriptor
        #: Whether the last holder was killed, so that its processes may still be shutting down.
        self.was_killed = was_killed

    def write(self, url: str | None) -> None:
        """Record this process as the holder, with the address of its API once that is ready."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def clear(self) -> None:
        """Record that the holder shut down in order."""
        os.ftruncate(self._descriptor, 0)


@contextmanager
def locked_data_dir(data_dir: Path) -> Iterator[DataDirLock]:
    """Hold the lock of a data directory, which is created if it does not exist.

    The kernel releases the lock when this process ends, even if it is killed.

    Raises:
        DataDirInUse: Another process holds the lock.
        CannotStart: The directory can't be created or written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
        path = data_dir / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise CannotStart(
            f"the data directory {data_dir} can't be used ({reason}): give another --data-dir"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirInUse(data_dir, _read_holder(path)) from None
        lock = DataDirLock(descriptor, was_killed=_read_holder(path) is not None)
        lock.write(None)
        try:
            yield lock
        finally:
            lock.clear()
    finally:
        os.close(descriptor)


def find_lock_holder(data_dir: Path) -> LockHolder | None:
    """Return the `quire up` that holds the lock of a data directory, or None."""
    path = data_dir / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path)
    finally:
        os.close(descriptor)
    return None


def _read_holder(path: Path) -> LockHolder | None:
    try:
        content = json.loads(path.read_text())
        return LockHolder(int(content["pid"]), content["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
