"""`quire login` and `quire whoami`."""

import sys
from typing import Annotated

import typer

from quire import config
from quire.client import Client
from quire.errors import InvalidInput
from quire.terminal.console import Json, escape, print_fields, print_json, print_note
from shared.settings import load_settings


def login(
    url: Annotated[
        str, typer.Argument(help="The server's address, such as http://127.0.0.1:8420.")
    ],
    key: Annotated[
        str | None,
        typer.Option(
            help="The API key. Without this option, `quire` asks for the key or reads it from "
            "a pipe."
        ),
    ] = None,
) -> None:
    """Log in to a server. The address and the key are saved in a private file."""
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"the address is {url!r}: it must begin with http:// or https://")
    if key is None:
        key = (
            typer.prompt("API key", hide_input=True, err=True)
            if sys.stdin.isatty()
            else sys.stdin.readline()
        )
    key = key.strip()
    if not key:
        raise InvalidInput("the API key is empty: pass it with --key or through a pipe")
    url = url.rstrip("/")
    with Client(url, key) as client:
        me = client.me()
    path = config.save_login(load_settings(), url, key)
    print_note(f"Logged in to {escape(url)} as [bold]{escape(me.name)}[/] ({escape(me.role)}).")
    print_note(f"[dim]The key is saved in {escape(str(path))}, which only you can read.[/]")


def whoami(as_json: Json = False) -> None:
    """Show the server and the user that you are logged in as."""
    with config.connect() as client:
        me = client.me()
        url = client.url
    if as_json:
        print_json({"url": url, **me.as_json()})
    else:
        print_fields([("server", escape(url)), ("user", escape(me.name)), ("role", me.role)])
