"""This machine: Python, packages, settings, port, data directory, disk."""

import http.client
import os
import platform
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from quire.server.data_dir import find_lock_holder
from quire.server.doctor.findings import Finding, error, ok, warning
from shared.setting_fields.machine import memory_bytes
from shared.settings import Settings

PYTHONS = ((3, 11), (3, 14))
#: Free disk below this multiple of the floor is a warning.
ROOM_FACTOR = 4
ANSWER_SECONDS = 3.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Look at this machine."""
    yield _python()
    yield from _settings(settings)
    yield _port(settings)
    yield from _data_dir(settings)
    yield _disk(settings)


def _python() -> Finding:
    version = platform.python_version()
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return ok("python", f"{version}, with the server's packages")
    return error("python", f"{version} is not supported", "make the environment with Python 3.12")


def _settings(settings: Settings) -> Iterator[Finding]:
    """Settings that are valid alone and contradict each other."""
    found = list(_contradictions(settings))
    if not found:
        yield ok("settings", "valid, and none contradicts another")
    for detail, repair in found:
        yield warning("settings", detail, repair)


def _contradictions(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.metrics_port is not None and settings.metrics_port == settings.api_port:
        yield (
            f"QUIRE_METRICS_PORT and QUIRE_API_PORT are both {settings.api_port}",
            "set QUIRE_METRICS_PORT to another port",
        )
    if settings.hung_seconds <= settings.lease_seconds:
        yield (
            f"QUIRE_HUNG_SECONDS ({settings.hung_seconds:g}) is not longer than "
            f"QUIRE_LEASE_SECONDS ({settings.lease_seconds:g}): a slow step counts as hung",
            "set QUIRE_HUNG_SECONDS to ten leases",
        )
    if settings.sweep_seconds > settings.lease_seconds:
        yield (
            f"QUIRE_SWEEP_SECONDS ({settings.sweep_seconds:g}) is longer than a lease: lost jobs "
            "wait long for their rescue",
            "set QUIRE_SWEEP_SECONDS to 5",
        )
    if settings.max_corpus_bytes > settings.max_corpora_bytes_per_user:
        yield (
            "QUIRE_MAX_CORPUS_BYTES exceeds QUIRE_MAX_CORPORA_BYTES_PER_USER: no user may store "
            "the largest upload",
            "lower QUIRE_MAX_CORPUS_BYTES",
        )
    if settings.max_corpora_bytes_per_user > settings.max_stored_bytes_per_user:
        yield (
            "QUIRE_MAX_CORPORA_BYTES_PER_USER exceeds QUIRE_MAX_STORED_BYTES_PER_USER, which "
            "counts corpora too",
            "lower QUIRE_MAX_CORPORA_BYTES_PER_USER",
        )
    for name in ("train_memory_bytes", "generate_memory_bytes"):
        if getattr(settings, name) > memory_bytes():
            yield (
                f"QUIRE_{name.upper()} is more than this machine's memory of {memory_bytes():,}",
                f"lower QUIRE_{name.upper()}, unless the workers' machines have more",
            )
    if settings.gpu_memory_share is not None and settings.gpu_memory_share > 0.5:
        yield (
            f"QUIRE_GPU_MEMORY_SHARE is {settings.gpu_memory_share:g}, and two workers share a GPU",
            "set QUIRE_GPU_MEMORY_SHARE to 0.45",
        )
    if settings.api_host not in LOOPBACK and not settings.trusted_proxies:
        yield (
            f"the API listens on {settings.api_host} without a proxy in QUIRE_TRUSTED_PROXIES: "
            "keys may cross the network unencrypted",
            "put a proxy with TLS in front of it (docs/operations.md, TLS)",
        )


def _port(settings: Settings) -> Finding:
    place = f"{settings.api_host}:{settings.api_port}"
    if settings.api_port == 0:
        return ok("port", "any free one")
    answer = _answer(settings.api_host, settings.api_port)
    if answer is None:
        try:
            with socket.create_server((settings.api_host, settings.api_port)):
                return ok("port", f"{place} is free")
        except OSError as reason:
            return error(
                "port", f"{place} can't be used ({reason.strerror})", "set QUIRE_API_PORT or --port"
            )
    if answer:
        return ok("port", f"{place} is Quire's API, which answers")
    return error("port", f"another program answers at {place}", "set QUIRE_API_PORT or --port")


def _answer(host: str, port: int) -> bool | None:
    """Whether Quire answers at a port; None if nothing does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().read().strip() == b'{"status":"ok"}'
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _data_dir(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir
    if not path.exists():
        if settings.database_url is None:
            yield warning("data directory", f"{path} does not exist", "run `quire up`")
        else:
            yield ok("data directory", f"{path} is not used: the database is elsewhere")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if not os.access(path, os.W_OK | os.X_OK):
        yield error("data directory", f"{path} can't be written by this user", f"chown it: {path}")
    elif mode & 0o077:
        yield warning(
            "data directory",
            f"{path} is open to other users of this machine ({mode:o})",
            f"chmod 700 {path}",
        )
    else:
        holder = find_lock_holder(path)
        used = "no `quire up` runs on it" if holder is None else f"`quire up` {holder.pid} runs"
        yield ok("data directory", f"{path}: {used}")


def _disk(settings: Settings) -> Finding:
    path = settings.data_dir
    url = settings.database.removeprefix("sqlite:///")
    if url != settings.database:
        path = Path(url.partition("?")[0]).parent
    while not path.exists():
        path = path.parent
    free, floor = shutil.disk_usage(path).free, settings.min_free_bytes
    detail = f"{free / 1024**3:.1f} GiB free at {path}"
    if free < floor:
        return error(
            "disk",
            f"{detail}, less than QUIRE_MIN_FREE_BYTES: uploads are refused",
            "free some of it: `quire gc` shows what could go",
        )
    if free < ROOM_FACTOR * floor:
        return warning("disk", detail, "`quire gc` shows what could go")
    return ok("disk", detail)
