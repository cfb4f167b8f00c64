"""The health check of the image: ``python -P -m shared.process.health`` asks the part that runs.

A container runs it every few seconds, so it imports little. It finds the parts by their process
titles, which name the API's address and the workers' host name, wherever these were set.
"""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from shared.process.python_module import python_module

PROC = Path("/proc")
API_SECONDS = 8.0


def main() -> int:
    """Check the API if it runs here, and otherwise the workers.

    Returns:
        The process's exit code: 0, or 1 after a line that says what is wrong.
    """
    address = running_api()
    if address is not None:
        problem = api_problem(address)
    elif (host_name := running_supervisor()) is not None:
        os.environ["QUIRE_HOST_NAME"] = host_name
        os.execv(sys.executable, python_module("worker.health"))  # noqa: S606  # without a shell
    else:
        problem = "neither the API nor workers run here, or they are still starting"
    if problem is not None:
        print(problem, file=sys.stderr)
    return 0 if problem is None else 1


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


def api_problem(address: str) -> str | None:
    """Ask the API whether it reaches the database and Redis; None if it does."""
    # This machine's own proxy settings don't concern a request to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/health/ready", timeout=API_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace").strip()
        return f"the API at {address} is not ready ({error.code}): {reason}"
    except OSError as error:
        return f"the API at {address} does not answer: {error}"


def _after(start: str, proc: Path) -> Iterator[str]:
    """Yield what follows `start` in each process title."""
    for path in sorted(proc.glob("[0-9]*/cmdline")):
        try:
            title = path.read_bytes().rstrip(b"\0 ").decode(errors="replace")
        except OSError:  # the process has ended
            continue
        if title.startswith(start):
            yield title.removeprefix(start)


if __name__ == "__main__":
    sys.exit(main())
