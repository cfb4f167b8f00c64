"""Sharing: the options of `share`, and with whom something is shared, in words."""

from typing import Annotated

import typer

from quire.client.replies import Corpus, Model
from quire.errors import InvalidInput
from quire.terminal.console import escape

Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="GROUP",
        help="Share it with this group that you are in, and not with everyone.",
    ),
]


def sharing(group: str | None, *, private: bool) -> dict[str, str]:
    """Return the fields of a request that the options of `share` set.

    Raises:
        InvalidInput: Both are given.
    """
    if private and group is not None:
        raise InvalidInput("--private and --group contradict each other: give one of them")
    if group is not None:
        return {"visibility": "group", "group": group}
    return {"visibility": "private" if private else "server"}


def shared_model(group: str | None = None) -> str:
    """Return what sharing a model gives away, as markup; None means with everyone."""
    return (
        f"[yellow]{_audience(group)} may now generate with this model and download its "
        "checkpoints. Its texts can hold passages of its corpus that it learnt by heart, even if "
        "the corpus is private.[/]"
    )


def shared_corpus(group: str | None = None) -> str:
    """Return what sharing a corpus gives away, as markup; None means with everyone."""
    return f"[yellow]{_audience(group)} may now read the whole corpus.[/]"


def _audience(group: str | None) -> str:
    return "Everyone on the server" if group is None else f"Everyone in the group {escape(group)}"


def visible_to(shared: Corpus | Model) -> str:
    """Return who may see a corpus or a model."""
    if shared.visibility == "group" and shared.group is not None:
        return f"the group {escape(shared.group)}"
    return "everyone" if shared.visibility == "server" else "the owner"
