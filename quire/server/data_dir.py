"""The data directory: private, and used by one `quire up` at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quire.config import PRIVATE_DIRECTORY, PRIVATE_FILE
from quire.errors import CannotStart, CliError

LOCK_NAME = "up.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """The `quire up` that uses a data directory. It has no address before its API is up."""

    pid: int
    url: str | None


class InUse(CliError):
    """Another `quire up` uses the data directory."""

    def __init__(self, data_dir: Path, holder: Holder | None) -> None:
        who = f"process {holder.pid}" if holder else "another process"
        where = f" at {holder.url}" if holder and holder.url else ""
        super().__init__(
            f"`quire up` already runs on {data_dir}{where} ({who}): "
            "use it, stop it, or give another --data-dir"
        )
        self.holder = holder


class Lock:
    """The right to use a data directory, held while its file is open."""

    def __init__(self, descriptor: int, *, was_killed: bool) -> None:
        self._descriptor = descriptor
        #: Whether the last holder ended without tidying, so that its parts may still be ending.
        self.was_killed = was_killed

    def write(self, url: str | None) -> None:
        """Tell others who holds the directory, and where the API is once it is up."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def clear(self) -> None:
        """Say that nobody holds it: everything was stopped in order."""
        os.ftruncate(self._descriptor, 0)


@contextmanager
def locked(data_dir: Path) -> Iterator[Lock]:
    """Hold a data directory, made if it is not there.

    The lock is the kernel's and ends with this process, however it ends.

    Raises:
        InUse: Another process holds it.
        CannotStart: The directory can't be made or written.
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
            raise InUse(data_dir, _holder(path)) from None
        lock = Lock(descriptor, was_killed=_holder(path) is not None)
        lock.write(None)
        try:
            yield lock
        finally:
            lock.clear()
    finally:
        os.close(descriptor)


def running(data_dir: Path) -> Holder | None:
    """The `quire up` that holds a data directory, or None."""
    path = data_dir / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    finally:
        os.close(descriptor)
    return None


def _holder(path: Path) -> Holder | None:
    try:
        content = json.loads(path.read_text())
        return Holder(int(content["pid"]), content["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
