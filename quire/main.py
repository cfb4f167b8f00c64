"""The `quire` command: its subcommands, and how each failure is shown."""

import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from quire.commands.accounts import (
    announce,
    audit,
    group,
    key,
    login,
    shares,
    usage,
    user,
    webhook,
)
from quire.commands.jobs import generate, job, next_tokens, queue, report, score, train
from quire.commands.library import checkpoint, corpus, model, storage, texts
from quire.commands.server import (
    api,
    backup,
    demo,
    devices,
    doctor,
    drain,
    gc,
    gpu_check,
    migrate,
    up,
    worker,
)
from quire.errors import ExitCode, InvalidInput, QuireError
from quire.terminal.console import out, print_error
from quire.terminal.streams import OutputClosed, discard, flush_streams, prepare_streams
from shared.process.part import wrap_stderr
from shared.settings import SettingsError, load_settings

HELP = """Train recurrent networks to write like your texts.

New here? `quire demo` shows everything in a few minutes.

`quire up` runs a server on this machine; `quire login` connects to a server that runs elsewhere.
"""
EXIT_CODES = (
    "Exit codes: 0 success · 1 the job failed or was cancelled · 2 bad usage or invalid input · "
    "3 not found · 4 not authorised · 5 server unreachable or broken · 70 a bug in quire · "
    "130 interrupted"
)
SERVER, ACCOUNTS, LIBRARY, JOBS = "Server", "Accounts", "Texts and models", "Jobs"

#: The commands that become a part of the server, whose standard error is its log.
PARTS = frozenset({"api", "worker", "migrate"})

app = typer.Typer(
    name="quire",
    help=HELP,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        out.print(f"quire {_version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


app.command("demo", rich_help_panel=SERVER)(demo.demo)
app.command("up", rich_help_panel=SERVER)(up.up)
app.command("api", rich_help_panel=SERVER)(api.api)
app.command("worker", rich_help_panel=SERVER)(worker.worker)
app.command("migrate", rich_help_panel=SERVER)(migrate.migrate)
app.add_typer(backup.backup, name="backup", rich_help_panel=SERVER)
app.command("restore", rich_help_panel=SERVER)(backup.restore)
app.command("gc", rich_help_panel=SERVER)(gc.gc)
app.command("storage", rich_help_panel=SERVER)(storage.show_storage)
app.command("doctor", rich_help_panel=SERVER)(doctor.doctor)
app.command("devices", rich_help_panel=SERVER)(devices.list_devices)
app.command("drain", rich_help_panel=SERVER)(drain.drain)
app.command("announce", rich_help_panel=SERVER)(announce.announce)
app.command("gpu-check", rich_help_panel=SERVER)(gpu_check.gpu_check)
app.command("free-device", rich_help_panel=SERVER)(devices.free_device)
app.command("login", rich_help_panel=ACCOUNTS)(login.login)
app.command("whoami", rich_help_panel=ACCOUNTS)(login.whoami)
app.command("audit", rich_help_panel=ACCOUNTS)(audit.show_audit)
app.command("usage", rich_help_panel=ACCOUNTS)(usage.show_usage)
app.add_typer(user.user, name="user", rich_help_panel=ACCOUNTS)
app.add_typer(group.group, name="group", rich_help_panel=ACCOUNTS)
app.add_typer(key.key, name="key", rich_help_panel=ACCOUNTS)
app.command("train", rich_help_panel=JOBS)(train.train)
app.command("generate", rich_help_panel=JOBS)(generate.generate)
app.command("score", rich_help_panel=JOBS)(score.score)
app.command("next", rich_help_panel=JOBS)(next_tokens.next_tokens)
app.command("report", rich_help_panel=JOBS)(report.report)
app.command("jobs", rich_help_panel=JOBS)(job.list_jobs)
app.add_typer(job.job, name="job", rich_help_panel=JOBS)
app.command("queue", rich_help_panel=JOBS)(queue.show_queue)
app.add_typer(webhook.webhook, name="webhook", rich_help_panel=JOBS)
app.add_typer(corpus.corpus, name="corpus", rich_help_panel=LIBRARY)
app.command("models", rich_help_panel=LIBRARY)(model.list_models)
app.add_typer(model.model, name="model", rich_help_panel=LIBRARY)
app.command("checkpoints", rich_help_panel=LIBRARY)(checkpoint.list_checkpoints)
app.add_typer(checkpoint.checkpoint, name="checkpoint", rich_help_panel=LIBRARY)
app.command("texts", rich_help_panel=LIBRARY)(texts.list_texts)
app.command("keep", rich_help_panel=LIBRARY)(texts.keep)
app.command("share", rich_help_panel=LIBRARY)(shares.share)
app.command("shares", rich_help_panel=LIBRARY)(shares.list_shares)
app.command("unshare", rich_help_panel=LIBRARY)(shares.unshare)


def _refuse_repeated(command: Any) -> None:
    """Make a command and those below it refuse an option that is given twice where one counts."""
    make_parser = command.make_parser

    def make_checking_parser(context: Any) -> Any:
        parser = make_parser(context)
        parse_args = parser.parse_args

        def parse_and_check(args: list[str]) -> Any:
            parsed = parse_args(args=args)
            for option, times in Counter(parsed[2]).items():
                if times > 1 and not option.multiple and option.param_type_name == "option":
                    raise InvalidInput(
                        f"{option.opts[0]} is given {times} times, and only one counts: give it "
                        "once"
                    )
            return parsed

        parser.parse_args = parse_and_check
        return parser

    command.make_parser = make_checking_parser
    for inner in getattr(command, "commands", {}).values():
        _refuse_repeated(inner)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `quire` and exit with its exit code. Every failure prints one readable line."""
    arguments = list(map(_as_utf_8, sys.argv[1:])) if arguments is None else arguments
    if arguments and arguments[0] in PARTS:
        wrap_stderr()
    prepare_streams()
    try:
        code = run(arguments)
    finally:
        flush_streams()
    sys.exit(code)


def _as_utf_8(argument: str) -> str:
    """An argument whose bytes are UTF-8, though the locale is not."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return argument


def run(arguments: Sequence[str]) -> int:
    """Run `quire` and return its exit code."""
    try:
        command = typer.main.get_command(app)
        _refuse_repeated(command)
        code = command.main(args=list(arguments), prog_name="quire", standalone_mode=False)
    except typer.TyperException as error:
        return _usage_error(error)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except OutputClosed:
        discard(sys.stdout)
        return ExitCode.OK
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        # Rich ends so while it prints a command's help.
        discard(sys.stdout)
        return ExitCode.OK
    except QuireError as error:
        print_error(str(error), code=error.code, ways=error.ways)
        return error.exit_code
    except SettingsError as error:
        print_error(str(error))
        return ExitCode.USAGE
    except Exception as error:
        return _bug(error)
    return code if isinstance(code, int) else ExitCode.OK


def _usage_error(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and not message.strip():
        return ExitCode.USAGE
    hint = f"Try `{context.command_path} --help`." if context is not None else None
    print_error(message, hint)
    return ExitCode.USAGE


def _bug(error: Exception) -> int:
    """Show an unexpected error in one line, with its traceback at log level `debug`."""
    if load_settings().log_level == "debug":
        traceback.print_exception(error)
    print_error(
        f"{type(error).__name__}: {error}".strip(),
        "This is a bug in Quire. QUIRE_LOG_LEVEL=debug shows the traceback.",
    )
    return ExitCode.BUG


def _version() -> str:
    try:
        return version("quire")
    except PackageNotFoundError:
        return "(not installed; running from source)"
