"""The parts of Quire that run on this machine, found by their process titles."""

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def running_api(proc: Path = PROC) -> str | None:
    """Return the address at which this machine reaches its API, or None if none runs."""
    address = next(_after("quire: api ", proc), None)
    if address is None:
        return None
    host, _, port = address.split(" ")[0].rpartition(":")
    here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  # compared, not bound
    return f"{here.get(host, host)}:{port}"


def running_supervisor(proc: Path = PROC) -> str | None:
    """Return the host name under which this machine's workers registered, or None if none run."""
    return next(_after("quire: supervisor ", proc), None)


def _after(start: str, proc: Path) -> Iterator[str]:
    """Yield what follows `start` in each process title."""
    for path in sorted(proc.glob("[0-9]*/cmdline")):
        try:
            title = path.read_bytes().rstrip(b"\0 ").decode(errors="replace")
        except OSError:  # the process has ended
            continue
        if title.startswith(start):
            yield title.removeprefix(start)
