"""What corpora and models have alike: `rename`, `share`, `rm`, `restore`, and who sees them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Generic, TypeVar

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Corpus, Model
from quire.errors import InvalidInput, NotFound
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_note, print_outcome, shell_quoted

Resource = TypeVar("Resource", Corpus, Model)


Deleted = Annotated[
    bool,
    typer.Option("--deleted", help="List yours that were deleted and can be restored."),
]


class Shareable(ABC, Generic[Resource]):
    """What the commands need to know of a kind of resource.

    Attributes:
        noun: What one is called.
    """

    noun: str

    @abstractmethod
    def find(self, client: Client, reference: str) -> Resource:
        """Find one by name or id."""

    @abstractmethod
    def update(self, client: Client, id: str, changes: dict[str, object]) -> Resource:
        """Change fields of one."""

    @abstractmethod
    def find_deleted(self, client: Client, reference: str) -> Resource:
        """Find one that was deleted, by name or id."""

    @abstractmethod
    def delete(self, client: Client, id: str, *, purge: bool) -> None:
        """Delete one; `purge` for good."""

    @abstractmethod
    def restore(self, client: Client, id: str) -> Resource:
        """Have one back."""

    @abstractmethod
    def describe(self, found: Resource) -> str:
        """Describe one as markup."""

    @abstractmethod
    def warning(self, audience: str) -> str:
        """Say what those who may see one from now on can do with it, as markup."""

    def change(self, reference: str, changes: dict[str, object], as_json: bool) -> None:
        """Change fields of the one that a command names, and print it."""
        with config.connect() as client:
            updated = self.update(client, self.find(client, reference).id, changes)
        line = f"{self.describe(updated)} (visible to {visible_to(updated)})."
        print_outcome(updated, as_json, line)

    def remove(self, reference: str, *, purge: bool) -> None:
        """Delete the one that a command names, which may be deleted already if `purge` is set."""
        with config.connect() as client:
            try:
                found = self.find(client, reference)
            except NotFound:
                if not purge:
                    raise
                found = self.find_deleted(client, reference)
            self.delete(client, found.id, purge=purge)
            left = [] if purge else [each for each in self.deleted(client) if each.id == found.id]
        print_note(f"Deleted the {self.noun} {escape(found.name)}{' for good' if purge else ''}.")
        for each in left:
            until = formatting.when(each.purge_at)
            print_note(
                f"[dim]Until {until} it counts towards your caps, and you can restore it:[/] "
                f"quire {self.noun} restore {shell_quoted(found.name)}"
            )

    def have_back(self, reference: str, as_json: bool) -> None:
        """Restore the deleted one that a command names, and print it."""
        with config.connect() as client:
            restored = self.restore(client, self.find_deleted(client, reference).id)
        line = f"Restored {self.describe(restored)} (visible to {visible_to(restored)})."
        print_outcome(restored, as_json, line)

    @abstractmethod
    def deleted(self, client: Client) -> Iterable[Resource]:
        """List those that can be restored."""

    def print_warning(self, group: str | None = None) -> None:
        """Say what sharing with a group means; None means with everyone."""
        where = "on the server" if group is None else f"in the group {escape(group)}"
        print_note(f"[yellow]{self.warning(f'Everyone {where}')}[/]")


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
        group: Annotated[
            str | None,
            typer.Option(
                "--group",
                metavar="GROUP",
                help="Share it with this group that you are in, and not with everyone.",
            ),
        ] = None,
        as_json: Json = False,
    ) -> None:
        kind.change(reference, _sharing(group, private=private), as_json)
        if not private:
            kind.print_warning(group)

    @app.command("rm", help=helps["rm"])
    def remove(
        reference: Annotated[str, argument],
        purge: Annotated[
            bool,
            typer.Option(
                "--purge",
                help="Delete it for good at once, even if it is deleted already: its bytes no "
                "longer count.",
            ),
        ] = False,
    ) -> None:
        kind.remove(reference, purge=purge)

    @app.command("restore", help=helps["restore"])
    def restore(reference: Annotated[str, argument], as_json: Json = False) -> None:
        kind.have_back(reference, as_json)


def visible_to(shared: Corpus | Model) -> str:
    """Return who may see a corpus or a model, as markup."""
    if shared.visibility == "group" and shared.group is not None:
        return f"the group {escape(shared.group)}"
    return "everyone" if shared.visibility == "server" else "the owner"


def _sharing(group: str | None, *, private: bool) -> dict[str, object]:
    """Return the fields of a request that the options of `share` set.

    Raises:
        InvalidInput: Both are given.
    """
    if private and group is not None:
        raise InvalidInput("--private and --group contradict each other: give one of them")
    if group is not None:
        return {"visibility": "group", "group": group}
    return {"visibility": "private" if private else "server"}
