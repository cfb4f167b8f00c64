"""`quire health`: the check of a container, for whichever part runs in it."""

import urllib.error
import urllib.request

from quire.errors import ServerUnreachable
from quire.server.parts import exec_part
from quire.server.titles import running_api, running_supervisor

API_SECONDS = 8.0


def health() -> None:
    """Check the part that runs in this container: the API is ready, or the workers are alive.

    Docker runs this as the health check of the image.
    """
    address = running_api()
    if address is not None:
        check_api(address)
        return
    host_name = running_supervisor()
    if host_name is None:
        raise ServerUnreachable(
            "neither the API nor the workers run here, or they are still starting"
        )
    exec_part("health", "worker.health", QUIRE_HOST_NAME=host_name)


def check_api(address: str) -> None:
    """Ask the API whether it is ready.

    Raises:
        ServerUnreachable: It does not answer, or it can't reach the database or Redis.
    """
    # This machine's own proxy settings don't concern a request to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/health/ready", timeout=API_SECONDS):
            return
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace").strip()
        raise ServerUnreachable(
            f"the API at {address} is not ready ({error.code}): {reason}"
        ) from None
    except OSError as error:
        raise ServerUnreachable(f"the API at {address} does not answer: {error}") from None
