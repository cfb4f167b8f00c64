"""`quire demo`: start a server, train a model and generate texts, for real, in minutes."""

import os
import shlex
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from quire import config
from quire.client import ApiError, Client
from quire.client.outcome import require_success
from quire.client.replies import Job, Text
from quire.commands.jobs.training_inputs import parse_settings
from quire.commands.library.uploads import upload_once
from quire.commands.server.options import DataDir
from quire.commands.server.up import options_over_environment
from quire.errors import CannotStart, ExitCode, ServerUnreachable
from quire.server import demo_corpus
from quire.server.data_dir import find_lock_holder
from quire.server.demo_corpus import (
    DemoCorpus,
    share_known,
    suggest_prompt,
    written_words,
)
from quire.server.parts import require_server
from quire.terminal import formatting
from quire.terminal.console import err, escape, out, shell_quoted
from quire.terminal.texts import print_texts
from quire.watch.wait import Detached, progress_text, wait_for_job
from shared.process.python_module import python_module
from shared.process.supervisor import Child, Event, ProcessSupervisor, StartFailed
from shared.settings import Settings

TEMPERATURES = [0.2, 0.5, 1.0, 1.2]
CHECKED_TEMPERATURE = 0.5
LENGTH = 400
#: Longer than `quire up` itself waits for all its parts.
UP_READY_SECONDS = 420.0
UP_GRACE_SECONDS = 120.0
KEY_NAME = "demo"
#: A shorter duration is shown with a decimal.
SHORT_SECONDS = 10
#: What differs from the default preset. After 12 epochs of `nietzsche` at least 92 % of the
#: words were known in each of 24 texts at temperature 0.5 (96 % on average); after 8 epochs
#: three of eight texts stayed below 90 %. Training takes 90 seconds on two free cores.
SPEC: dict[str, Any] = {"epochs": 12}


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The model and the texts that the demo made, and the corpus it used."""

    model: str
    texts: list[Text]
    corpus: DemoCorpus


def demo(
    data_dir: DataDir = None,
    epochs: Annotated[int | None, typer.Option(hidden=True)] = None,
    settings_: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
) -> None:
    """Show everything: start a server, upload a book, train a model, generate texts, and stop."""
    require_server("demo")
    settings = options_over_environment(data_dir=data_dir)
    spec = SPEC | parse_settings(settings_ or [])
    if epochs is not None:
        spec["epochs"] = epochs
    started_at = time.monotonic()
    out.print("[bold]Quire demo[/]  [dim]a network learns to write like a book[/]\n")
    try:
        with _server(settings) as url, _logged_in(settings, url) as client:
            result = _train_and_generate(client, settings, spec)
            took = formatting.duration(time.monotonic() - started_at)
            _conclude(result, settings, url, took)
    except StartFailed as error:
        raise CannotStart(str(error)) from None
    except (Detached, KeyboardInterrupt):
        err.print("\n[dim]Stopped. The next `quire up` continues the training.[/]")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _train_and_generate(client: Client, settings: Settings, spec: dict[str, Any]) -> DemoResult:
    with _spinner("looking for a book"):
        corpus = demo_corpus.find(settings.corpus_dir)
    stored, _ = upload_once(client, [("", corpus.text.encode())], corpus.name)
    _print_line("corpus", f"{stored.name}: {formatting.count(stored.characters)} characters")
    _print_line("", f"from {corpus.source}")
    name = _free_name(client, f"{corpus.name}-demo")
    body = {"corpus": stored.id, "preset": "default", "name": name, **spec}
    trained = wait_for_job(client, client.submit_training(body))
    require_success(trained)
    _print_line("trained", f"{name}, in {_seconds(trained)}")
    if trained.progress:
        _print_line("", progress_text(trained.progress, speed=False))
        _print_line(
            "", f"{formatting.count(trained.progress.characters_per_second or 0)} characters/s"
        )
    request = {"model": trained.model, "length": LENGTH, "temperature": TEMPERATURES}
    written = wait_for_job(client, client.submit_generation(request))
    require_success(written)
    texts = written.texts or list(client.job_texts(written.id))
    _print_line("written", f"{len(texts)} texts of {LENGTH} characters, in {_seconds(written)}")
    return DemoResult(name, texts, corpus)


def known_words_sentence(written: Collection[str], corpus: str) -> str:
    """Say how many of the written words the corpus has. A piece of a table has no words."""
    if not written:
        return "the text has no words, only punctuation: generate more texts."
    share = share_known(written, corpus)
    return f"[bold]{share:.0%}[/] of its {len(written)} words occur in the corpus."


def _conclude(result: DemoResult, settings: Settings, url: str, took: str) -> None:
    """Print the texts, check the words of one, and suggest commands to go on with."""
    out.print()
    print_texts(result.texts)
    for text in result.texts:
        if text.temperature == CHECKED_TEMPERATURE:
            sentence = known_words_sentence(
                written_words(text.prompt, text.text), result.corpus.text
            )
            out.print(f"At temperature {CHECKED_TEMPERATURE} {sentence}", soft_wrap=True)
    out.print(
        f"The demo took {took}. The corpus, the model, its checkpoints, the texts and the logs are "
        f"kept in {escape(str(settings.data_dir))}.\n",
        soft_wrap=True,
    )
    default = f"http://127.0.0.1:{settings.api_port}"
    port = "" if url == default else f" --port {url.rpartition(':')[2]}"
    data_dir = (
        ""
        if settings.data_dir == Path("~/.quire").expanduser()
        else f" --data-dir {settings.data_dir}"
    )
    prompt = shlex.quote(suggest_prompt(result.corpus.text))
    out.print("Next, on the page or in another terminal:")
    for command, purpose in (
        (f"quire up{data_dir}{port}", f"start the server again, with its page at {url}"),
        (f"quire generate {result.model} --prompt {prompt}", "generate more texts"),
        ("quire train --corpus FILE", "train on a text of your own"),
        ("quire --help", "see all commands"),
    ):
        out.print(f"  {escape(command):52}  [dim]{purpose}[/]", soft_wrap=True)


@contextmanager
def _server(settings: Settings) -> Iterator[str]:
    """Yield the address of a `quire up` on the data directory, started here if none runs."""
    holder = find_lock_holder(settings.data_dir)
    if holder is not None:
        with _spinner("waiting for the `quire up` that already runs"):
            url = _await_url(settings)
        _print_line("server", f"{url}, which runs already")
        yield url
        return

    def is_ready() -> bool:
        holder = find_lock_holder(settings.data_dir)
        return holder is not None and holder.url is not None

    child = Child(
        "the server",
        (*python_module("quire"), "up", "--no-first-key", "--port", str(_port(settings))),
        {**os.environ, "QUIRE_DATA_DIR": str(settings.data_dir)},
        ready=is_ready,
        ready_seconds=UP_READY_SECONDS,
        grace_seconds=UP_GRACE_SECONDS,
        log_path=settings.data_dir / "logs" / "up.log",
    )
    with ProcessSupervisor(_ignore) as supervisor:
        # No signal handlers: Ctrl-C raises KeyboardInterrupt here as everywhere in the demo.
        # Leaving the block then stops the server, which stops its parts in order.
        with _spinner("starting Redis, the database, the API and the workers"):
            started_at = time.monotonic()
            supervisor.start(child)
        url = _await_url(settings)
        took = formatting.duration(time.monotonic() - started_at)
        _print_line("server", f"{url}, ready in {took}")
        _print_line("", "Redis, the database, the API and the workers run as separate processes")
        try:
            yield url
        finally:
            with _spinner("stopping the server"):
                supervisor.stop()
    out.print("\n[dim]The server has stopped.[/]")


def _await_url(settings: Settings) -> str:
    deadline = time.monotonic() + UP_READY_SECONDS
    while time.monotonic() < deadline:
        holder = find_lock_holder(settings.data_dir)
        if holder is None:
            break
        if holder.url is not None:
            return holder.url
        time.sleep(0.2)
    raise CannotStart(f"`quire up` on {settings.data_dir} ended or did not become ready")


@contextmanager
def _logged_in(settings: Settings, url: str) -> Iterator[Client]:
    """Yield a client with a valid key: the saved one, or a new one for the first admin."""
    from quire.server.local_accounts import renew_admin_key  # needs the extra `server`

    key = _working_key(settings, url)
    if key is None:
        key = renew_admin_key(settings, KEY_NAME)
        if config.saved_login(settings) is None:
            path = config.save_login(settings, url, key)
            _print_line("user", f"admin, with a key saved in {path}")
        else:
            _print_line("user", "admin, with a key for this run; your saved login is unchanged")
            path = config.save_key(settings, key)
            _print_line("", f"quire login {url} < {shell_quoted(str(path))}")
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
    """Return `name`, or the first of `name-2`, `name-3`, … that no model has."""
    taken = {model.name for model in client.models()}
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in (name, *numbered) if candidate not in taken)


def _port(settings: Settings) -> int:
    """Return the configured port, or 0 (any free port) if another program uses it."""
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
    return f"{seconds:.0f} s" if seconds >= SHORT_SECONDS else f"{seconds:.1f} s"


def _print_line(label: str, text: str) -> None:
    line = escape(text) if label else f"[dim]{escape(text)}[/]"
    out.print(f"[cyan]{label:9}[/]{line}", soft_wrap=True)


@contextmanager
def _spinner(activity: str) -> Iterator[None]:
    if err.is_terminal:
        with err.status(activity, spinner_style="cyan"):
            yield
    else:
        yield


def _ignore(_event: Event) -> None:
    """Show nothing: `quire up` writes its own log."""
