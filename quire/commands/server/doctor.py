"""`quire doctor`: says what is wrong with a server, and one repair for each."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from quire import config
from quire.commands.server.options import DataDir
from quire.commands.server.up import options_over_environment
from quire.server.doctor import Finding, Level, exit_code
from quire.server.doctor.findings import error
from quire.server.doctor.remote import check_server
from quire.server.parts import require_server
from quire.terminal.console import Json, escape, out, print_json
from shared.settings import SettingsError

SIGNS: dict[Level, str] = {
    "ok": "[green]✓[/]",
    "warning": "[yellow]![/]",
    "error": "[red]✗[/]",
}
CHECK_COLUMNS = 15


def doctor(
    server: Annotated[
        bool, typer.Option("--server", help="Look at the server of `quire login`, from outside.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong, and name one repair for each. It changes nothing.

    Without --server it looks at this machine: settings, port, disk, database, Redis, workers,
    clocks, keys, bytes. It exits with 0 if all is well, 1 for warnings, 2 for errors.
    """
    if not server:
        require_server("doctor")
    findings = []
    for finding in _remote() if server else _local(data_dir):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        print_json(
            [
                {
                    "check": finding.check,
                    "level": finding.level,
                    "detail": finding.detail,
                    "repair": finding.repair or None,
                }
                for finding in findings
            ]
        )
    raise typer.Exit(exit_code(findings))


def _local(data_dir: DataDir) -> Iterator[Finding]:
    try:
        settings = options_over_environment(data_dir=data_dir)
    except SettingsError as reason:
        for line in str(reason).splitlines():
            yield error("settings", line, "correct the variable; docs/settings.md has its bounds")
        return
    # These imports need the extra `server`.
    from quire.server.doctor.database import check_database
    from quire.server.doctor.machine import check_machine
    from quire.server.doctor.redis_server import check_redis

    yield from check_machine(settings)
    yield from check_database(settings)
    yield from check_redis(settings)


def _remote() -> Iterator[Finding]:
    with config.connect() as client:
        try:
            own = version("quire")
        except PackageNotFoundError:
            own = "0.0.0"
        yield from check_server(client, own)


def _show(finding: Finding) -> None:
    out.print(
        f"{SIGNS[finding.level]} {finding.check:{CHECK_COLUMNS}}{escape(finding.detail)}",
        soft_wrap=True,
    )
    if finding.repair:
        out.print(f"  {'':{CHECK_COLUMNS}}[dim]→ {escape(finding.repair)}[/]", soft_wrap=True)
