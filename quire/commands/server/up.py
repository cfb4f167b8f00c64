"""`quire up`: the whole server on this machine, until Ctrl-C."""

import os
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.status import Status

from quire import config
from quire.commands.server.options import DataDir, Devices, Host, Port
from quire.errors import CannotStart, ExitCode
from quire.server.data_dir import locked_data_dir
from quire.server.parts import require_server
from quire.terminal.console import escape, out
from shared.process.supervisor import Event, ProcessSupervisor, StartFailed, StopRequested
from shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from quire.server.stack import Stack

NAME_COLUMNS = 10
#: The private file that holds the first admin's key if nobody watches the terminal.
ADMIN_KEY_NAME = "admin.key"
#: The private file that holds the sign-in link in that case.
SIGN_IN_LINK_NAME = "sign-in.link"
#: The umask of every process: other users of the machine can't read texts or keys.
OWNER_ONLY = 0o077


def up(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    devices: Devices = None,
    first_key: Annotated[bool, typer.Option("--first-key/--no-first-key", hidden=True)] = True,
) -> None:
    """Run the whole server on this machine: Redis, database, API and workers.

    Ctrl-C stops the parts in order; the next `quire up` continues with the
    same data. A part that dies is restarted.
    """
    require_server("up")
    settings = options_over_environment(
        data_dir=data_dir, api_host=host, api_port=port, devices=devices
    )
    output = UpOutput()
    os.umask(OWNER_ONLY)
    try:
        with (
            locked_data_dir(settings.data_dir) as lock,
            ProcessSupervisor(output.report) as supervisor,
            supervisor.signals(),
            output,
        ):
            # This import needs the extra `server` and takes a while: the lock comes first.
            from quire.server import stack

            running = stack.start(supervisor, settings, lock, output.progress, make_admin=first_key)
            _greet(running, settings)
            output.watching = True
            supervisor.watch(lambda: stack.rotate_logs(settings))
            output.stopping()
    except StartFailed as error:
        raise CannotStart(str(error)) from None
    except StopRequested:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def options_over_environment(**options: Any) -> Settings:
    """Load the settings; given options override the environment variables.

    Raises:
        SettingsError: A value is not allowed.
    """
    return load_settings(**{name: value for name, value in options.items() if value is not None})


class UpOutput:
    """The output of `quire up`: a line for each part, then only what goes wrong."""

    def __init__(self) -> None:
        self.watching = False
        self._down: set[str] = set()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_status()

    def progress(self, name: str, text: str) -> None:
        """Show that a part is starting (`text` is empty) or is ready."""
        self._end_status()
        if text:
            out.print(
                f"[green]ready[/]  {name:{NAME_COLUMNS}}[dim]{escape(text)}[/]", soft_wrap=True
            )
        elif out.is_terminal:
            self._status = out.status(f"starting {name}", spinner_style="cyan")
            self._status.start()

    def report(self, event: Event) -> None:
        """Show an event of the supervisor: a part died, was restarted, or stopped."""
        name = f"{event.child:{NAME_COLUMNS}}"
        if event.kind in {"exited", "unready"}:
            self._down.add(event.child)
            reason = event.exit if event.kind == "exited" else "it does not answer"
            out.print(
                f"[red]ended[/]  {name}{reason}; restarting in {event.restart_seconds:g} s",
                soft_wrap=True,
            )
        elif event.kind == "ready" and event.child in self._down:
            self._down.discard(event.child)
            out.print(f"[green]ready[/]  {name}[dim]restarted as process {event.pid}[/]")
        elif event.kind == "killed":
            out.print(f"[red]killed[/] {name}it did not stop in time")
        elif event.kind == "stopped" and self.watching:
            out.print(f"[dim]stopped {event.child}[/]")

    def stopping(self) -> None:
        """Show that the server is stopping."""
        if out.is_terminal:
            out.print("\n[dim]Stopping the parts in order. Press Ctrl-C again to stop at once.[/]")

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def _greet(running: "Stack", settings: Settings) -> None:
    """Print the server's address and, on the first start, the admin's key."""
    url = running.url
    out.print(f"\nQuire runs at [bold]{url}[/]   [dim]docs: {url}/docs[/]", soft_wrap=True)
    if running.sign_in_link is not None:
        _show_sign_in_link(running.sign_in_link, settings)
    out.print(f"[dim]data and logs: {escape(str(settings.data_dir))}[/]", soft_wrap=True)
    if running.admin_key is not None:
        if out.is_terminal:
            out.print("\nThe admin key, shown only this once:", soft_wrap=True)
            out.print(f"  [bold]{running.admin_key}[/]", soft_wrap=True)
        else:
            # What is no terminal may be a log that is kept, such as that of a container.
            path = settings.data_dir / ADMIN_KEY_NAME
            config.write_private(path, f"{running.admin_key}\n")
            out.print(f"\nThe admin key is in {escape(str(path))}", soft_wrap=True)
        offer_login(settings, url, running.admin_key)
    out.print(f"\n[dim]Ctrl-C stops it. Process {os.getpid()}.[/]")


def _show_sign_in_link(link: str, settings: Settings) -> None:
    about = "This link opens the page signed in as an admin, once and within an hour"
    if out.is_terminal:
        out.print(f"{about}:\n  [bold]{link}[/]", soft_wrap=True)
    else:
        path = settings.data_dir / SIGN_IN_LINK_NAME
        config.write_private(path, f"{link}\n")
        out.print(f"{about}: it is in {escape(str(path))}", soft_wrap=True)


def offer_login(settings: Settings, url: str, key: str) -> None:
    """Save a login if there is none yet; otherwise print how to log in."""
    if config.saved_login(settings) is None and settings.client_url is None:
        path = config.save_login(settings, url, key)
        out.print(
            f"[dim]`quire` is now logged in with this key ({escape(str(path))}).[/]", soft_wrap=True
        )
    else:
        out.print(f"[dim]Log in with this key:[/] quire login {url}", soft_wrap=True)
