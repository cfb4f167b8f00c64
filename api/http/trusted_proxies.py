"""Take the client's address from a proxy's headers, if the proxy is one of ours."""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
#: What proxies say of a client. Without a trusted proxy it is the client who says it.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")


class TrustedProxies:
    """WSGI middleware that believes `X-Forwarded-*` from some networks, and drops it from others.

    Args:
        application: The WSGI application.
        networks: The proxies' addresses.
    """

    def __init__(
        self, application: Application, networks: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        self._application = application
        self._networks = networks
        self._behind_proxy = ProxyFix(application, x_for=1, x_proto=1, x_host=1)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Handle one request."""
        if self._is_trusted(environ.get("REMOTE_ADDR", "")):
            return self._behind_proxy(environ, start_response)
        for name in FORWARDED:
            environ.pop(name, None)
        return self._application(environ, start_response)

    def _is_trusted(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self._networks)
