"""What the server's admin announces, above the output of the commands that people use most."""

from quire.client import ApiError, Client
from quire.terminal import formatting
from quire.terminal.console import escape, print_note

STYLES = {"warning": "bold yellow"}


def show_announcement(client: Client) -> None:
    """Print what is announced now, if anything is, to standard error."""
    try:
        found = client.announcement()
    except ApiError:
        # A server of an earlier version, or a key that may not read.
        return
    if found is not None:
        until = "" if found.ends_at is None else f" (until {formatting.when(found.ends_at)})"
        style = STYLES.get(found.level, "cyan")
        print_note(f"[{style}]{escape(found.text)}[/][dim]{escape(until)}[/]")
