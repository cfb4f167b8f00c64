"""Send one webhook: a POST to an address that is checked, with bounds on time and answer."""

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from shared.notifications.addresses import AddressPolicy, BadAddress, WebAddress

#: For the whole of it, from the look-up of the name on (which the system bounds by itself).
SEND_SECONDS = 15.0
#: What is read of an answer. Its body says nothing that counts.
MAX_ANSWER_BYTES = 4096
GONE = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try.

    Attributes:
        status_code: The status of the answer; None if there was none.
        error: Why it failed; None if it did not.
        is_final: Whether another try would be useless.
    """

    status_code: int | None
    error: str | None
    is_final: bool = False


class _Connection(http.client.HTTPConnection):
    """A connection to an address that the policy allows. It knows no proxy."""

    def __init__(self, address: WebAddress, policy: AddressPolicy, seconds: float) -> None:
        super().__init__(address.host, address.port, timeout=seconds)
        self._address, self._policy = address, policy

    def connect(self) -> None:
        """Connect, and encrypt what the address says."""
        seconds = self.timeout or SEND_SECONDS
        connection = self._policy.connect(self._address, seconds)
        self.sock = connection
        if self._address.is_secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(connection, server_hostname=self._address.host)


def send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: AddressPolicy,
    seconds: float = SEND_SECONDS,
) -> Outcome:
    """Send a webhook once. It follows no redirect.

    Args:
        url: Where to.
        body: The JSON to send.
        headers: The headers besides those that every request has.
        policy: Says which addresses are allowed.
        seconds: How long it may take.
    """
    try:
        address = policy.parse_url(url)
    except BadAddress as error:
        return Outcome(None, str(error), is_final=True)
    connection = _Connection(address, policy, seconds)
    # A socket's own timeout starts anew with each byte of an answer that drips.
    late = threading.Event()
    watchdog = threading.Timer(seconds, _cut, (connection, late))
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", address.target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        answer.read(MAX_ANSWER_BYTES)
        return _judge(answer.status)
    except BadAddress as error:
        return Outcome(None, str(error), is_final=True)
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        # The watchdog takes the socket away from under a request that is too slow.
        if late.is_set():
            return Outcome(None, f"no answer within {seconds:g} s")
        return Outcome(None, _reason(error))
    finally:
        watchdog.cancel()
        connection.close()


def _cut(connection: _Connection, late: threading.Event) -> None:
    late.set()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _judge(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status, None)
    if 300 <= status < 400:
        return Outcome(status, f"answered {status}: redirects are not followed")
    if status == GONE:
        return Outcome(status, "answered 410: the address wants no more", is_final=True)
    return Outcome(status, f"answered {status}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "the name of the host is not known"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or type(error).__name__)[:200]
