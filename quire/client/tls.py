"""Which certificates of servers are trusted."""

import ssl
from pathlib import Path

import httpx2

from quire.errors import InvalidInput


def tls_context(url: str, verify: bool | str | Path | ssl.SSLContext) -> bool | ssl.SSLContext:
    """Return what an HTTP client checks certificates with.

    Args:
        url: The server's address. Plain HTTP has no certificates, and reads no file of them.
        verify: True for the machine's authorities, False for no check; a PEM file of authorities
            to trust beside those; or a context, which is used as it is.

    Raises:
        InvalidInput: The file can't be used.
    """
    if isinstance(verify, bool | ssl.SSLContext):
        return verify
    if not url.lower().startswith("https://"):
        return True
    context = httpx2.create_ssl_context()
    path = Path(verify).expanduser()
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        reason = "it has no certificates in PEM form"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    else:
        return context
    raise InvalidInput(
        f"{path} can't be used to check the server's certificate: {reason}. Name a PEM file of "
        "the authority that signed it, in QUIRE_CA or verify"
    )
