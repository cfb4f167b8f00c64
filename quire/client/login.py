"""The login: a server and a key, from the environment or from what `quire login` keeps."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from quire.errors import InvalidInput, NotLoggedIn

#: Names of the variable with the key; the second is what other services call theirs.
KEY_VARIABLES = ("QUIRE_KEY", "QUIRE_API_KEY")


class Login(BaseModel):
    """A server's address and an API key, as `client.json` stores them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    key: str


def client_file(config_home: Path) -> Path:
    """Return the path of the file that `quire login` writes."""
    return config_home / "quire" / "client.json"


def saved_login(path: Path) -> Login | None:
    """Read the saved login, or return None if there is none.

    Raises:
        InvalidInput: The file exists but is unreadable or malformed.
    """
    try:
        return Login.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a login file"
        raise InvalidInput(f"{path} can't be used ({reason}): run `quire login` again") from None


def choose_login(url: str | None, key: str | None, saved: Callable[[], Login | None]) -> Login:
    """Return the login to use.

    Args:
        url: The address that was given, which goes before the saved one.
        key: The key that was given, likewise.
        saved: Reads the saved login.

    Raises:
        NotLoggedIn: There is no server, or no key for it.
    """
    login = saved() if not (url and key) else None
    url = url or (login.url if login else None)
    if key is None and login is not None and url is not None and login.url == url.rstrip("/"):
        # A saved key belongs to the saved server and is never sent to another one.
        key = login.key
    if url is None:
        raise NotLoggedIn(
            "no server is configured: run `quire login URL`, or set QUIRE_URL and QUIRE_KEY"
        )
    if key is None:
        raise NotLoggedIn(f"no key for {url}: run `quire login {url}`, or set QUIRE_KEY")
    return Login(url=url, key=key)


def login_of_environment(
    url: str | None = None, key: str | None = None, environment: Mapping[str, str] = os.environ
) -> Login:
    """Return the login of a script or a notebook: what it gives, else the environment's.

    Args:
        url: The server's address; None for QUIRE_URL, or the saved one.
        key: An API key; None for QUIRE_KEY or QUIRE_API_KEY, or the saved one.
        environment: The environment.

    Raises:
        InvalidInput: The address is none, or the two names of the key say different things.
        NotLoggedIn: There is no server, or no key for it.
    """
    name = "url" if url is not None else "QUIRE_URL"
    url = url if url is not None else environment.get("QUIRE_URL") or None
    if url is not None and not url.startswith(("http://", "https://")):
        raise InvalidInput(f"{name} is {url!r}: it must start with http:// or https://")
    home = Path(environment.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return choose_login(
        url, key or _key_of(environment), lambda: saved_login(client_file(home.absolute()))
    )


def ca_of_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the file of authorities that QUIRE_CA names, if any."""
    return environment.get("QUIRE_CA") or None


def _key_of(environment: Mapping[str, str]) -> str | None:
    keys = {environment[name] for name in KEY_VARIABLES if environment.get(name)}
    if len(keys) > 1:
        raise InvalidInput(f"{' and '.join(KEY_VARIABLES)} are both set, and differ: unset one")
    return keys.pop() if keys else None
