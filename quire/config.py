"""The login of the commands: what the settings say, else what `quire login` has saved."""

import json
import os
from pathlib import Path

from quire.client import Client, login
from quire.client.login import Login
from quire.errors import InvalidInput
from shared.settings import Settings, load_settings

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def client_file(settings: Settings) -> Path:
    """Return the path of the file that `quire login` writes."""
    return login.client_file(settings.config_home)


def saved_login(settings: Settings) -> Login | None:
    """Read the saved login, or return None if there is none.

    Raises:
        InvalidInput: The file exists but is unreadable or malformed.
    """
    return login.saved_login(client_file(settings))


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
    key = settings.key_of_client
    return login.choose_login(
        settings.client_url,
        key.get_secret_value() if key else None,
        lambda: saved_login(settings),
    )


def connect() -> Client:
    """Return a client for the current login. Raises as `current_login` does."""
    settings = load_settings()
    found = current_login(settings)
    return Client(found.url, found.key, verify=settings.client_ca or True)


def connect_without_key(url: str) -> Client:
    """Return a client of a server that has no key for it: to redeem a one-time link."""
    return Client.anonymous(url, verify=load_settings().client_ca or True)
