"""`demo`: a newcomer's whole way, on the real thing, in a few minutes."""

import os
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from quire import config
from quire.client import Client
from quire.client.replies import Job, Text
from quire.client.transport import ApiError
from quire.commands import demo_corpus
from quire.commands.corpus import upload_once
from quire.commands.demo_corpus import DemoCorpus, share_known, written_words
from quire.commands.parts import part, require_server
from quire.commands.train import parse_settings
from quire.commands.up import DataDir, options_over_environment
from quire.commands.writing import print_texts
from quire.errors import CannotStart, ExitCode, ServerUnreachable
from quire.server.data_dir import find_lock_holder
from quire.terminal import formatting
from quire.terminal.console import err, out
from quire.watch.wait import Detached, progress_text, require_success, wait_for_job
from shared.process.supervisor import Child, Event, ProcessSupervisor, StartFailed
from shared.settings import Settings

TEMPERATURES = [0.2, 0.5, 1.0, 1.2]
JUDGED_TEMPERATURE = 0.5
LENGTH = 400
#: Longer than all that `quire up` waits for its own parts.
UP_READY_SECONDS = 420.0
UP_GRACE_SECONDS = 120.0
KEY_NAME = "demo"
#: Below this a time is shown with a decimal.
BRIEF_SECONDS = 10
#: Beyond the default preset: at 12 epochs of `nietzsche` all of 24 texts at temperature 0.5
#: had 92 % known words or more (96 % in the mean); at 8 three of eight stayed below 90 %.
#: It takes a minute and a half on two free cores.
NUMBERS: dict[str, Any] = {"epochs": 12}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo made."""

    model: str
    texts: list[Text]
    corpus: DemoCorpus


def demo(
    data_dir: DataDir = None,
    epochs: Annotated[int | None, typer.Option(hidden=True)] = None,
    settings_: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
) -> None:
    """Show everything: start a server, upload a book, train on it, let it write, and stop."""
    require_server("demo")
    settings = options_over_environment(data_dir=data_dir)
    numbers = NUMBERS | parse_settings(settings_ or [])
    if epochs is not None:
        numbers["epochs"] = epochs
    started_at = time.monotonic()
    out.print("[bold]Quire demo[/]  [dim]a network learns to write like a book[/]\n")
    try:
        with _server(settings) as url, _logged_in(settings, url) as client:
            shown = _show(client, settings, numbers)
            took = formatting.duration(time.monotonic() - started_at)
            _conclude(shown, settings, url, took)
    except StartFailed as error:
        raise CannotStart(str(error)) from None
    except (Detached, KeyboardInterrupt):
        err.print("\n[dim]Stopped. The training goes on at the next `quire up`.[/]")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _show(client: Client, settings: Settings, numbers: dict[str, Any]) -> Shown:
    """Upload, train, generate."""
    with _working("looking for a book"):
        corpus = demo_corpus.find(settings.corpus_dir)
    stored, _ = upload_once(client, corpus.text.encode(), corpus.name)
    _say("corpus", f"{stored.name}: {formatting.count(stored.characters)} characters")
    _say("", f"from {corpus.source}")
    name = _free_name(client, f"{corpus.name}-demo")
    body = {"corpus": stored.id, "preset": "default", "name": name, **numbers}
    trained = wait_for_job(client, client.train(body))
    require_success(trained)
    _say("trained", f"{name}, in {_seconds(trained)}")
    if trained.progress:
        _say("", progress_text(trained.progress, speed=False))
        _say("", f"{formatting.count(trained.progress.characters_per_second or 0)} characters/s")
    request = {"model": trained.model, "length": LENGTH, "temperature": TEMPERATURES}
    written = wait_for_job(client, client.generate(request))
    require_success(written)
    texts = written.texts or list(client.job_texts(written.id))
    _say("written", f"{len(texts)} texts of {LENGTH} characters, in {_seconds(written)}")
    return Shown(name, texts, corpus)


def judgement(written: Collection[str], corpus: str) -> str:
    """How many of the written words the corpus has; a piece of a table, say, holds none."""
    if not written:
        return "it wrote no word, only what stands between words: ask for more texts."
    share = share_known(written, corpus)
    return f"[bold]{share:.0%}[/] of its {len(written)} words occur in the corpus."


def _conclude(shown: Shown, settings: Settings, url: str, took: str) -> None:
    """Print the texts, judge one, and say how to go on."""
    out.print()
    print_texts(shown.texts)
    for text in shown.texts:
        if text.temperature == JUDGED_TEMPERATURE:
            judged = judgement(written_words(text.prompt, text.text), shown.corpus.text)
            out.print(f"At temperature {JUDGED_TEMPERATURE} {judged}", soft_wrap=True)
    out.print(f"All that took {took}. Corpus, model, checkpoints, texts and logs are kept in")
    out.print(f"{escape(str(settings.data_dir))}.\n", soft_wrap=True)
    default = f"http://127.0.0.1:{settings.api_port}"
    port = "" if url == default else f" --port {url.rpartition(':')[2]}"
    where = (
        ""
        if settings.data_dir == Path("~/.quire").expanduser()
        else f" --data-dir {settings.data_dir}"
    )
    out.print("Go on:")
    for command, meaning in (
        (f"quire up{where}{port}", "the server again; then"),
        (f'quire generate {shown.model} --prompt "The soul"', "more texts"),
        ("quire train --corpus FILE", "a text of your own"),
        ("quire --help", "everything else"),
    ):
        out.print(f"  {escape(command):52}  [dim]{meaning}[/]", soft_wrap=True)


@contextmanager
def _server(settings: Settings) -> Iterator[str]:
    """The address of a `quire up` on the data directory: the one that runs, or our own."""
    holder = find_lock_holder(settings.data_dir)
    if holder is not None:
        with _working("waiting for the `quire up` that runs here"):
            yield_url = _await_url(settings)
        _say("server", f"{yield_url}, which runs already")
        yield yield_url
        return

    def is_ready() -> bool:
        found = find_lock_holder(settings.data_dir)
        return found is not None and found.url is not None

    child = Child(
        "the server",
        (*part("quire"), "up", "--no-first-key", "--port", str(_port(settings))),
        {**os.environ, "QUIRE_DATA_DIR": str(settings.data_dir)},
        ready=is_ready,
        ready_seconds=UP_READY_SECONDS,
        grace_seconds=UP_GRACE_SECONDS,
        log_path=settings.data_dir / "logs" / "up.log",
    )
    with ProcessSupervisor(_silent) as supervisor:
        # No signal handlers: Ctrl-C raises here as everywhere else in the demo, and leaving
        # the block stops the server, which in turn stops its parts in order.
        with _working("starting Redis, the database, the API and the workers"):
            began = time.monotonic()
            supervisor.start(child)
        url = _await_url(settings)
        took = formatting.duration(time.monotonic() - began)
        _say("server", f"{url}, ready in {took}")
        _say("", "Redis, database, API and workers, each a process of its own")
        try:
            yield url
        finally:
            with _working("stopping everything"):
                supervisor.stop()
    out.print("\n[dim]Everything that was started has stopped.[/]")


def _await_url(settings: Settings) -> str:
    deadline = time.monotonic() + UP_READY_SECONDS
    while time.monotonic() < deadline:
        holder = find_lock_holder(settings.data_dir)
        if holder is None:
            break
        if holder.url is not None:
            return holder.url
        time.sleep(0.2)
    raise CannotStart(f"`quire up` on {settings.data_dir} ended, or does not become ready")


@contextmanager
def _logged_in(settings: Settings, url: str) -> Iterator[Client]:
    """A client with a key that works: the saved one, or a new one of the first admin."""
    from quire.server.local_accounts import renew_admin_key  # needs the extra `server`

    key = _working_key(settings, url)
    if key is None:
        key = renew_admin_key(settings, KEY_NAME)
        if config.saved_login(settings) is None:
            path = config.save_login(settings, url, key)
            _say("user", f"admin, with a key kept in {path}")
        else:
            _say("user", "admin, with a key for this run; your saved login stays as it is")
            _say("", f"quire login {url} --key {key}")
    with Client(url, key) as client:
        yield client


def _working_key(settings: Settings, url: str) -> str | None:
    login = config.saved_login(settings)
    if login is None or login.url != url:
        return None
    try:
        with Client(url, login.key) as client:
            client.me()
    except (ApiError, ServerUnreachable):
        return None
    return login.key


def _free_name(client: Client, name: str) -> str:
    """`name`, or the first of `name-2`, `name-3` … that no model has."""
    taken = {model.name for model in client.models()}
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _port(settings: Settings) -> int:
    """The usual port; 0 (any) where another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api_host, settings.api_port))
        except OSError:
            return 0
    return settings.api_port


def _seconds(job: Job) -> str:
    if job.started_at is None or job.finished_at is None:
        return "a while"
    seconds = (job.finished_at - job.started_at).total_seconds()
    return f"{seconds:.0f} s" if seconds >= BRIEF_SECONDS else f"{seconds:.1f} s"


def _say(name: str, text: str) -> None:
    line = escape(text) if name else f"[dim]{escape(text)}[/]"
    out.print(f"[cyan]{name:9}[/]{line}", soft_wrap=True)


@contextmanager
def _working(what: str) -> Iterator[None]:
    if err.is_terminal:
        with err.status(what, spinner_style="cyan"):
            yield
    else:
        yield


def _silent(_event: Event) -> None:
    """`quire up` tells its own log what happens."""
