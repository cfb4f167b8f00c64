"""Passwords in files of their own, such as Docker secrets, and the URLs they belong to."""

from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import SecretStr


def read_password(server: str, path: Path | None, url: SecretStr | None) -> SecretStr | None:
    """Read the password for an address, without the line's end; None if no file is set.

    Args:
        server: The beginning of both variables' names, such as ``DATABASE``.
        path: The value of ``…_PASSWORD_FILE``.
        url: The value of ``…_URL``.

    Raises:
        ValueError: The file can't be read or is empty, or the address can't take a password.
    """
    if path is None:
        return None
    variable = f"{server}_PASSWORD_FILE"
    if url is None or url.get_secret_value().startswith("sqlite:"):
        raise ValueError(
            f"{variable} is {str(path)!r}, but {server}_URL names no server: set {server}_URL to "
            "the server's URL, or remove the password file"
        )
    if urlsplit(url.get_secret_value()).password is not None:
        raise ValueError(
            f"{server}_URL has a password, and {variable} is {str(path)!r}: remove one of the two"
        )
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{variable} is {str(path)!r}, which can't be read: {reason}") from None
    if not password:
        raise ValueError(f"{variable} is {str(path)!r}, which is empty: write the password into it")
    return SecretStr(password)


def insert_password(url: SecretStr, password: SecretStr | None) -> str:
    """Return the address with the password in it."""
    if password is None:
        return url.get_secret_value()
    scheme, _, rest = url.get_secret_value().partition("://")
    place, slash, path = rest.partition("/")
    user, _, host = place.rpartition("@")
    return f"{scheme}://{user}:{quote(password.get_secret_value(), safe='')}@{host}{slash}{path}"
