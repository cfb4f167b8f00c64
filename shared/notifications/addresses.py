"""Which addresses of the web may be sent to: public ones, and those that a setting names.

A name is judged by the address that is really connected to. A name that says one thing when it is
asked first and another thing later gets nowhere, and neither does a redirect: none is followed.
"""

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
MAX_CHARACTERS = 2000
#: Prefixes under which an IPv6 address carries an IPv4 one in its last bits: NAT64, and two forms
#: that are out of use.
CARRIERS = tuple(map(ip_network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
#: What some releases of Python count as global.
NEVER_PUBLIC = tuple(
    map(ip_network, ("192.88.99.0/24", "192.0.0.0/24", "64:ff9b:1::/48", "fec0::/10", "2001::/23"))
)


class BadAddress(ValueError):
    """The address can't be one of a webhook; the message says why."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A webhook's address, taken apart."""

    is_secure: bool
    host: str
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Decides where webhooks may go.

    Attributes:
        networks: Networks that are allowed although they are private.
        names: Names of hosts whose addresses are, whatever they are.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Make a policy from addresses, networks and names.

        Raises:
            ValueError: An entry is none of these.
        """
        networks, names = [], []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                labels = entry.rstrip(".").lower()
                if not labels.replace("-", "").replace(".", "").isalnum() or labels[-1].isdigit():
                    raise ValueError(f"{entry!r} is no network and no name of a host") from None
                names.append(labels)
        return cls(tuple(networks), frozenset(names))

    def parse_url(self, url: str) -> WebAddress:
        """Take an address apart, and refuse what is wrong whatever its name means.

        Raises:
            BadAddress: It is no address of the web, or names a private one.
        """
        address = _parse(url)
        literal = _literal(address.host)
        if literal is not None:
            self.check(address, literal)
        elif not address.is_secure and not (self.networks or self.names):
            raise BadAddress(_NEEDS_TLS)
        return address

    def check(self, address: WebAddress, connected: Address) -> None:
        """Check the address that a connection goes to.

        Raises:
            BadAddress: It is private, or public and not encrypted.
        """
        if address.host in self.names or any(connected in network for network in self.networks):
            return
        if not is_public(connected):
            raise BadAddress(
                f"{address.host} is at {connected}, which is private to the server's machine or "
                "network. Use a public address, or ask the admin to allow it "
                "(QUIRE_WEBHOOK_ALLOW)"
            )
        if not address.is_secure:
            raise BadAddress(_NEEDS_TLS)

    def connect(self, address: WebAddress, seconds: float) -> socket.socket:
        """Connect to the first of a host's addresses that is allowed and answers.

        Raises:
            BadAddress: None is allowed.
            OSError: None answers, or the name has none.
        """
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        refused: BadAddress | None = None
        failed: OSError | None = None
        give_up_at = time.monotonic() + seconds
        for family, kind, protocol, _, place in found:
            try:
                self.check(address, ip_address(str(place[0]).partition("%")[0]))
            except BadAddress as error:
                refused = error
                continue
            try:
                seconds = give_up_at - time.monotonic()
                if seconds <= 0:
                    raise TimeoutError
                return _connected(family, kind, protocol, place, seconds)
            except OSError as error:
                failed = error
        raise failed or refused or OSError("the name has no address")


_NEEDS_TLS = "use https: what is sent to a public address is encrypted"


def is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet, in whatever form it is written."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            return is_public(address.sixtofour)
        if any(address in network for network in CARRIERS):
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in NEVER_PUBLIC):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _parse(url: str) -> WebAddress:
    if len(url) > MAX_CHARACTERS:
        raise BadAddress(f"an address may have at most {MAX_CHARACTERS:,} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise BadAddress("write it as ASCII, with other characters percent-encoded")
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress(f"no address of the web ({error})") from None
    if parts.scheme not in ("http", "https") or not host:
        raise BadAddress("an address begins with https:// and the name of a host")
    if "@" in parts.netloc:
        raise BadAddress("leave out the user and the password: the signature says who sends it")
    if parts.fragment or "#" in url:
        raise BadAddress("leave out what follows #, which is never sent")
    if port == 0 or "%" in host:
        raise BadAddress("the host or the port can't be connected to")
    secure = parts.scheme == "https"
    target = parts.path or "/"
    return WebAddress(
        secure,
        host.rstrip("."),
        port or (443 if secure else 80),
        f"{target}?{parts.query}" if parts.query else target,
    )


def _literal(host: str) -> Address | None:
    """The address that a host is written as: also in octal, hexadecimal, or as one number."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _connected(family: int, kind: int, protocol: int, place: Any, seconds: float) -> socket.socket:
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(seconds)
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection
