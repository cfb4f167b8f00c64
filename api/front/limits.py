"""How long and how much a peer may take."""

import resource
from dataclasses import dataclass

#: Descriptors beside those of connections: databases, Redis, logs, temporary files.
RESERVED_DESCRIPTORS = 256
#: Without so many connections nobody could be served.
MIN_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """Deadlines and bounds of one server.

    Attributes:
        head_seconds: How long the head of a request may take, from its first byte.
        body_seconds: How long a whole request may take, from its first byte.
        body_grace_seconds: How long a body may take before its rate counts.
        min_body_rate: The lowest rate of a body, in bytes a second, on average.
        idle_seconds: How long a connection may stay open without a request.
        stall_seconds: How long a peer may leave an answer unread.
        min_read_rate: The lowest rate at which an answer is read, in bytes a second, averaged over
            `stall_seconds`.
        linger_seconds: How long the rest of a refused request is read and dropped.
        max_connections: How many connections may be open at once.
        max_head_bytes: The longest head.
    """

    head_seconds: float = 10.0
    body_seconds: float = 600.0
    body_grace_seconds: float = 10.0
    min_body_rate: int = 1024
    idle_seconds: float = 20.0
    stall_seconds: float = 10.0
    min_read_rate: int = 1024
    linger_seconds: float = 2.0
    max_connections: int = 1200
    max_head_bytes: int = 32 * 1024


def allowed_connections(wanted: int) -> int:
    """The number of connections that this process may hold, at most `wanted`.

    Raises the process's soft limit of descriptors as far as the hard one allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A socket and the file of a large body each.
    needed = 2 * wanted + RESERVED_DESCRIPTORS
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < needed:
        soft = needed if hard == unlimited else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == unlimited:
        return wanted
    return max(MIN_CONNECTIONS, min(wanted, (soft - RESERVED_DESCRIPTORS) // 2))
