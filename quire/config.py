"""The login: a server and a key, from QUIRE_URL and QUIRE_KEY or from `client.json`."""

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from quire.client import Client
from quire.errors import InvalidInput, NotLoggedIn
from shared.settings import Settings, load_settings

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


class Login(BaseModel):
    """A server's address and an API key, as `client.json` stores them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    key: str


def client_file(settings: Settings) -> Path:
    """Return the path of the file that `quire login` writes."""
    return settings.config_home / "quire" / "client.json"


def saved_login(settings: Settings) -> Login | None:
    """Read the saved login, or return None if there is none.

    Raises:
        InvalidInput: The file exists but is unreadable or malformed.
    """
    path = client_file(settings)
    try:
        return Login.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a login file"
        raise InvalidInput(f"{path} can't be used ({reason}): run `quire login` again") from None


def save_login(settings: Settings, url: str, key: str) -> Path:
    """Save a login. The file is readable only by its owner from the start."""
    path = client_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
    write_private(path, json.dumps({"url": url, "key": key}, indent=2) + "\n")
    return path


def check_login_can_be_saved(settings: Settings) -> None:
    """Check that `save_login` will succeed, before a key is made that could not be kept.

    Raises:
        InvalidInput: Its folder can't be written.
    """
    folder = client_file(settings).parent
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
        write_private(probe, "")
        probe.unlink()
    except OSError as error:
        raise InvalidInput(
            f"the login can't be saved in {folder} ({error.strerror}): set XDG_CONFIG_HOME to a "
            "directory of yours"
        ) from None


def save_key(settings: Settings, key: str) -> Path:
    """Save a new key in a file of its own, which only its owner can read.

    Raises:
        InvalidInput: The file can't be written; the message says how to do without the key.
    """
    prefix = key.split("_")[1]
    path = settings.config_home / "quire" / "keys" / prefix
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
        write_private(path, key + "\n")
    except OSError as error:
        raise InvalidInput(
            f"the new key {prefix} can't be saved in {path} ({error.strerror}): make another one "
            "on a terminal or with --json, or set XDG_CONFIG_HOME to a directory of yours"
        ) from None
    return path


def write_private(path: Path, content: str) -> None:
    """Write a file with mode 0600, completely or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    part.replace(path)


def current_login(settings: Settings | None = None) -> Login:
    """Return the login to use: the environment's, else the saved one.

    Raises:
        NotLoggedIn: Neither names a server and a key.
    """
    settings = settings or load_settings()
    login = saved_login(settings) if not (settings.client_url and settings.client_key) else None
    url = settings.client_url or (login.url if login else None)
    key = settings.client_key.get_secret_value() if settings.client_key else None
    if key is None and login is not None and login.url == url:
        # A saved key belongs to the saved server and is never sent to another one.
        key = login.key
    if url is None:
        raise NotLoggedIn(
            "no server is configured: run `quire login URL`, or set QUIRE_URL and QUIRE_KEY"
        )
    if key is None:
        raise NotLoggedIn(f"no key for {url}: run `quire login {url}`, or set QUIRE_KEY")
    return Login(url=url, key=key)


def connect() -> Client:
    """Return a client for the current login. Raises as `current_login` does."""
    login = current_login()
    return Client(login.url, login.key)
