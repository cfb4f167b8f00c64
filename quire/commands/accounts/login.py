"""`quire login` and `quire whoami`."""

import re
import sys
from typing import Annotated

import typer

from quire import config
from quire.client import Client
from quire.commands.library.announcement import show_announcement
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_fields, print_json, print_note
from shared.settings import load_settings

#: What a one-time link has behind the `#`.
TOKEN = re.compile(r"quire_enrol_[0-9a-z]{8}_[0-9a-f]{64}")
ENROL_PATH = "/enrol"


def login(
    place: Annotated[
        str,
        typer.Argument(
            metavar="URL|LINK",
            help="The server's address, such as http://127.0.0.1:8420, or the whole one-time link "
            "that somebody sent you.",
        ),
    ],
    key_argument: Annotated[str | None, typer.Argument(hidden=True)] = None,
    key: Annotated[str | None, typer.Option(hidden=True)] = None,
    name: Annotated[
        str | None,
        typer.Option(help="A name for the key that a link makes.", show_default="this computer's"),
    ] = None,
) -> None:
    """Log in to a server: with your API key, or once with a link that makes you one.

    `quire` asks for the key, or reads it from a pipe: `quire login URL < FILE`. The address and
    the key are saved in a private file.
    """
    if key is not None or key_argument is not None:
        raise InvalidInput(
            "a key on the command line can be read by others on this machine, and stays in the "
            "shell's history: leave it out. `quire login URL` asks for it, and "
            "`quire login URL < FILE` reads it from a file"
        )
    if not place.startswith(("http://", "https://")):
        raise InvalidInput(f"the address is {place!r}: it must begin with http:// or https://")
    url, _, fragment = place.partition("#")
    url = url.rstrip("/").removesuffix(ENROL_PATH)
    secret = fragment or _read_key()
    if fragment and not TOKEN.fullmatch(fragment):
        raise InvalidInput(
            "the link is not complete: give all of it, from http to the last character behind the "
            "#, in quotes"
        )
    settings = load_settings()
    if (token := TOKEN.search(secret)) is not None:
        config.check_login_can_be_saved(settings)
        with config.connect_without_key(url) as client:
            secret = client.redeem_enrolment(token[0], name or settings.host_name[:100])
        print_note("The link is used up: it has made a key for you.")
    with Client(url, secret, verify=settings.client_ca or True) as client:
        me = client.me()
    path = config.save_login(settings, url, secret)
    print_note(f"Logged in to {escape(url)} as [bold]{escape(me.name)}[/] ({escape(me.role)}).")
    print_note(f"[dim]The key is saved in {escape(str(path))}, which only you can read.[/]")


def _read_key() -> str:
    key: str = (
        typer.prompt("API key", hide_input=True, err=True)
        if sys.stdin.isatty()
        else sys.stdin.readline()
    )
    if not key.strip():
        raise InvalidInput("the API key is empty: type it, or give it through a pipe")
    return key.strip()


def whoami(as_json: Json = False) -> None:
    """Show the server, the user that you are logged in as, and what your key may be used for."""
    with config.connect() as client:
        me = client.me()
        url = client.url
        if not as_json:
            show_announcement(client)
    if as_json:
        print_json({"url": url, **me.as_json()})
        return
    fields = [("server", escape(url)), ("user", escape(me.name)), ("role", me.role)]
    if me.key is not None:
        fields += [
            ("key", f"{me.key.prefix}, for {', '.join(me.key.scopes)}"),
            ("expires", formatting.when(me.key.expires_at) or "never"),
        ]
    print_fields(fields)
