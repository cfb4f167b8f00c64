"""The commands that corpora and models have alike: `rename`, `share` and `rm`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Corpus, Model
from quire.terminal.console import Json, escape, print_note, print_outcome

Resource = TypeVar("Resource", Corpus, Model)


class Shareable(ABC, Generic[Resource]):
    """What the commands need to know of a kind of resource.

    Attributes:
        noun: What one is called.
        warning: What sharing one means, said when it is done.
    """

    noun: str
    warning: str

    @abstractmethod
    def find(self, client: Client, reference: str) -> Resource:
        """Find one by name or id."""

    @abstractmethod
    def update(self, client: Client, id: str, changes: dict[str, object]) -> Resource:
        """Change fields of one."""

    @abstractmethod
    def delete(self, client: Client, id: str) -> None:
        """Delete one."""

    @abstractmethod
    def describe(self, found: Resource) -> str:
        """Describe one as markup."""

    def change(self, reference: str, changes: dict[str, object], as_json: bool) -> None:
        """Change fields of the one that a command names, and print it."""
        with config.connect() as client:
            updated = self.update(client, self.find(client, reference).id, changes)
        print_outcome(updated, as_json, f"{self.describe(updated)} ({updated.visibility}).")

    def print_warning(self) -> None:
        """Say what sharing means."""
        print_note(f"[yellow]{self.warning}[/]")


def add_shared_commands(
    app: typer.Typer, kind: Shareable[Corpus] | Shareable[Model], helps: Mapping[str, str]
) -> None:
    """Add the commands to those of a kind of resource.

    Args:
        app: Its commands.
        kind: The kind.
        helps: The help of each command.
    """
    argument = typer.Argument(metavar="NAME|ID", help=f"The {kind.noun}.")

    @app.command("rename", help=helps["rename"])
    def rename(
        reference: Annotated[str, argument],
        new_name: Annotated[str, typer.Argument(help="The new name.")],
        as_json: Json = False,
    ) -> None:
        kind.change(reference, {"name": new_name}, as_json)

    @app.command("share", help=helps["share"])
    def share(
        reference: Annotated[str, argument],
        private: Annotated[
            bool,
            typer.Option("--private", help=f"Stop sharing: only you may use the {kind.noun}."),
        ] = False,
        as_json: Json = False,
    ) -> None:
        kind.change(reference, {"visibility": "private" if private else "server"}, as_json)
        if not private:
            kind.print_warning()

    @app.command("rm", help=helps["rm"])
    def remove(reference: Annotated[str, argument]) -> None:
        with config.connect() as client:
            found = kind.find(client, reference)
            kind.delete(client, found.id)
        print_note(f"Deleted the {kind.noun} {escape(found.name)}.")
