"""Shows a new key on a terminal alone, since other output ends in logs that are kept."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from quire.config import PRIVATE_DIRECTORY, client_file, write_private
from quire.errors import InvalidInput
from quire.terminal.console import out, print_note
from shared.settings import load_settings

Show = Annotated[
    bool,
    typer.Option(
        "--show",
        help="Print the key even if standard output is not a terminal, but a pipe or a log.",
    ),
]


Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="What the key may be used for: read, submit, manage, admin or metrics. Give it once "
        "for each.",
        show_default="all that the role allows",
    ),
]


class NewKeyOutput:
    """Where a key that is about to be made will go. Make it before the key.

    The private file's name is printed in place of the key, so that a script reads it with
    ``cat "$(quire key add)"``.

    Args:
        show: Print the key wherever standard output goes.

    Raises:
        InvalidInput: The key may not be printed, and no private file can be written.
    """

    def __init__(self, *, show: bool) -> None:
        self._folder: Path | None = None
        if not show and not out.is_terminal:
            self._folder = client_file(load_settings()).parent / "keys"
            self._check(self._folder)

    def print(self, key: str, prefix: str, message: str) -> None:
        """Print the key, or the name of the private file that holds it.

        Args:
            key: The key.
            prefix: Its prefix, which names the file.
            message: What was made, as markup without a full stop.
        """
        self._print("key", key, f"{prefix}.key", message)

    def print_link(self, link: str, enrolment: str, message: str) -> None:
        """Print a one-time link, or the name of the private file that holds it.

        Args:
            link: The link.
            enrolment: Its id, which names the file.
            message: What was made, as markup without a full stop.
        """
        self._print("link", link, f"{enrolment}.link", message)

    def print_secret(self, secret: str, message: str) -> None:
        """Print a secret of webhooks, or the name of the private file that holds it.

        Args:
            secret: The secret.
            message: What was made, as markup without a full stop.
        """
        self._print("secret", secret, "webhooks.secret", message)

    def _print(self, what: str, secret: str, file_name: str, message: str) -> None:
        if self._folder is None:
            print_note(f"{message}. The {what}, shown only this once:")
            out.print(escape(secret), soft_wrap=True)
            return
        path = self._folder / file_name
        write_private(path, f"{secret}\n")
        print_note(
            f"{message}. Standard output is not a terminal: it names the private file that holds "
            f"the {what}. --show prints the {what}."
        )
        out.print(escape(str(path)), soft_wrap=True)

    @staticmethod
    def _check(folder: Path) -> None:
        probe = folder / ".probe"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY)
            write_private(probe, "")
            probe.unlink()
        except OSError as error:
            raise InvalidInput(
                "standard output is not a terminal, and the folder that would keep the key, "
                f"{folder}, can't be written ({error.strerror}): give --show to print the key, or "
                "set XDG_CONFIG_HOME to a directory that can be written"
            ) from None
