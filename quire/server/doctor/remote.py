"""A server that is reached by HTTP alone, with the key of the login."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from quire.client import ApiError, Client
from quire.errors import ServerUnreachable
from quire.server.doctor.findings import Finding, error, ok, warning

CLOCK_SECONDS = 5.0
ANSWER_SECONDS = 10.0
LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")
#: The lanes that every server needs.
LANES = ("train", "generate")


def check_server(client: Client, own_version: str) -> Iterator[Finding]:
    """Look at a server from outside."""
    try:
        with httpx2.Client(
            base_url=client.url,
            timeout=ANSWER_SECONDS,
            # A server on this machine is never reached through a proxy.
            trust_env=not client.url.startswith(LOOPBACK),
        ) as http:
            started = time.monotonic()
            ready = http.get("/health/ready")
            took = time.monotonic() - started
            states = ready.json()
            version = http.get("/openapi.json").json()["info"]["version"]
            states["database"]
    except httpx2.HTTPError as reason:
        detail = f"{client.url} does not answer ({reason})"
        yield error("server", detail, "start it, or correct the address (`quire login`)")
        return
    except (ValueError, KeyError, TypeError):
        detail = f"what answers at {client.url} is not Quire"
        yield error("server", detail, "correct the address (`quire login`)")
        return
    yield ok("server", f"{client.url} answers in {took * 1000:.0f} ms")
    for name in ("database", "redis"):
        if states.get(name) == "ok":
            yield ok(name, "the API reaches it")
        else:
            repair = f"start the server's {name}; `quire doctor` on its machine says more"
            yield error(name, str(states.get(name)), repair)
    yield _clock(ready.headers.get("date"))
    if version != own_version:
        yield warning(
            "versions",
            f"the server is {version}, and this program {own_version}",
            "install the same version here",
        )
    try:
        me = client.me()
        yield ok("key", f"of {me.name}, whose role is {me.role}")
        yield from _workers(client)
    except (ApiError, ServerUnreachable) as reason:
        yield error("key", str(reason), f"run `quire login {client.url}`")


def _clock(date: str | None) -> Finding:
    if date is None:
        return ok("clocks", "the server does not tell its time")
    offset = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    if offset > CLOCK_SECONDS:
        return warning(
            "clocks",
            f"the server's clock and this machine's differ by {offset:.0f} s",
            "let both follow a time server (timedatectl set-ntp true)",
        )
    return ok("clocks", "the server's and this machine's agree")


def _workers(client: Client) -> Iterator[Finding]:
    devices = list(client.devices())
    alive = [device for device in devices if device.alive]
    lanes = {device.lane for device in alive}
    if missing := [lane for lane in LANES if lane not in lanes]:
        yield warning(
            "workers",
            f"no live worker takes jobs of the kind {' or '.join(missing)}",
            "start `quire worker` on the server's machine",
        )
    else:
        yield ok("workers", f"{len(alive)} on {len({device.host for device in alive})} hosts")
    for device in devices:
        if not device.alive:
            yield warning(
                "workers",
                f"{device.id} was heard of last at {device.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC",
                f"start the workers on {device.host} again",
            )
