"""Where the server is and which key to use: `client.json`, or QUIRE_URL and QUIRE_KEY."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from quire.client import Client
from quire.errors import InvalidInput, NotLoggedIn
from shared.settings import Settings, load_settings

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


class Login(BaseModel):
    """What `client.json` holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    key: str


@dataclass(frozen=True, slots=True)
class Server:
    """The server that commands talk to."""

    url: str
    key: str


def client_file(settings: Settings) -> Path:
    """The file that `quire login` writes."""
    return settings.config_home / "quire" / "client.json"


def saved_login(settings: Settings) -> Login | None:
    """The saved login, or None.

    Raises:
        InvalidInput: The file is there but cannot be understood.
    """
    path = client_file(settings)
    try:
        return Login.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what `login` wrote"
        raise InvalidInput(f"{path} can't be used ({reason}): run `quire login` again") from None


def save_login(settings: Settings, url: str, key: str) -> Path:
    """Keep a login, readable only by its owner at every moment."""
    path = client_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
    write_private(path, json.dumps({"url": url, "key": key}, indent=2) + "\n")
    return path


def write_private(path: Path, content: str) -> None:
    """Write a file of mode 0600 that appears whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    part.replace(path)


def server(settings: Settings | None = None) -> Server:
    """The server to talk to: the environment first, then the saved login.

    Raises:
        NotLoggedIn: Neither names a server and a key.
    """
    settings = settings or load_settings()
    login = saved_login(settings) if not (settings.client_url and settings.client_key) else None
    url = settings.client_url or (login.url if login else None)
    key = settings.client_key.get_secret_value() if settings.client_key else None
    if key is None and login is not None and login.url == url:
        # A saved key is meant for the saved server, and is never sent to another one.
        key = login.key
    if url is None:
        raise NotLoggedIn(
            "no server is known: run `quire login URL`, or set QUIRE_URL and QUIRE_KEY"
        )
    if key is None:
        raise NotLoggedIn(f"no key for {url}: run `quire login {url}`, or set QUIRE_KEY")
    return Server(url, key)


def connect() -> Client:
    """A client for the server to talk to. Raises as `server` does."""
    target = server()
    return Client(target.url, target.key)
