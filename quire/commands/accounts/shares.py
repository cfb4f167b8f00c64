"""`quire share`, `quire shares` and `quire unshare`: links that show one job or one text."""

from typing import Annotated

import typer

from quire import config
from quire.client import ApiError, Client
from quire.client.replies import NewShare
from quire.commands.accounts.moments import Expires, after_now
from quire.lookup import find_newest_job, is_id
from quire.terminal import formatting
from quire.terminal.console import Json, out, print_json, print_note, print_table


def share(
    reference: Annotated[
        str, typer.Argument(metavar="JOB|TEXT", help="A job, by name or id, or the id of a text.")
    ],
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Make a link that shows a job or a text to whoever has it.

    They need no account and can change nothing. `quire unshare` revokes it.
    """
    expires_at = None if expires is None else after_now("--expires", expires)
    with config.connect() as client:
        made = _share(client, reference, expires_at)
    if as_json:
        print_json(made)
        return
    out.print(made.url, soft_wrap=True, markup=False, highlight=False)
    print_note(
        f"[dim]Whoever has this link sees the {made.kind} until "
        f"{formatting.when(made.expires_at)}. Revoke it:[/] quire unshare {made.id}"
    )


def list_shares(as_json: Json = False) -> None:
    """List the links that show jobs and texts of yours."""
    with config.connect() as client:
        found = list(client.shares())
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "SHOWS", "OF", "MADE", "UNTIL"),
        [
            (
                each.id,
                each.kind,
                each.job or each.text or "",
                formatting.ago(each.created_at),
                formatting.when(each.expires_at),
            )
            for each in found
        ],
        empty="No links. `quire share JOB` makes one.",
    )


def unshare(
    reference: Annotated[str, typer.Argument(metavar="ID", help="The link's id.")],
) -> None:
    """Revoke a link: whoever has it sees nothing more."""
    with config.connect() as client:
        client.revoke_share(reference)
    print_note("Revoked the link.")


def _share(client: Client, reference: str, expires_at: str | None) -> NewShare:
    if is_id(reference):
        try:
            return client.share(text=client.text(reference).id, expires_at=expires_at)
        except ApiError as error:
            if error.status != 404:
                raise
    job = find_newest_job(client, reference)
    return client.share(job=job.id, expires_at=expires_at)
