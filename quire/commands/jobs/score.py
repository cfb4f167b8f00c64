"""`quire score`: how likely a model finds a text."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from quire import config
from quire.client import ApiError, Client
from quire.client.replies import Job
from quire.commands.jobs.generate import WAIT_SECONDS, Checkpoint, Unknown
from quire.commands.library.uploads import (
    Encoding,
    corpus_name,
    read_file,
    refused,
    upload_once,
)
from quire.errors import ExitCode, InvalidInput
from quire.lookup import find_model
from quire.terminal.console import Json, escape, out, print_json, print_note
from quire.watch.wait import Detached, print_detached, require_success, wait_for_job
from shared.texts.decoding import decode
from shared.texts.findings import RefusedText

#: A longer text is uploaded, scored piece by piece, and deleted.
LONGEST_TEXT_CHARACTERS = 100_000


def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="A text file; - is standard input.", show_default="-"),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The text itself, instead of a file.")] = None,
    encoding: Encoding = None,
    unknown: Unknown = None,
    checkpoint: Checkpoint = None,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="With --json: show each token's log probability.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a text: how likely a model finds it.

    The score is in bits per character; lower is likelier. A text of any length is read; a long
    one is kept at the server until its score is there.
    """
    if text is not None and file is not None:
        raise InvalidInput(f"--text and {file} exclude each other: give one of them")
    name = "-" if file is None else str(file)
    data = read_file(name) if text is None else b""
    whole = _decode(name, data, encoding) if text is None else text
    options = {"unknown": unknown, "checkpoint": checkpoint, "logprobs": logprobs or None}
    body: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    with config.connect() as client:
        body["model"] = find_model(client, model).id
        if len(whole) <= LONGEST_TEXT_CHARACTERS:
            job = _score(client, body | {"text": whole}, watch=not as_json)
        else:
            stem = "scored text" if text is not None or name == "-" else corpus_name(name)
            files = [("", data if text is None else whole.encode())]
            with _uploaded(client, files, stem, encoding) as corpus:
                job = _score(client, body | {"corpus": corpus}, watch=not as_json)
    if as_json:
        print_json(job)
    require_success(job)
    if not as_json:
        [scored] = job.texts or []
        if scored.bits_per_char is None:
            raise InvalidInput("a text of one character has no score: give a longer one")
        out.print(f"{scored.bits_per_char:.4f} [dim]bits per character[/]")


def _score(client: Client, body: dict[str, Any], *, watch: bool) -> Job:
    """Submit a score and wait for its end."""
    job = client.score(body, wait_seconds=WAIT_SECONDS)
    try:
        return job if job.ended else wait_for_job(client, job, watch=watch)
    except (Detached, KeyboardInterrupt):
        print_detached(job)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


@contextmanager
def _uploaded(
    client: Client, files: list[tuple[str, bytes]], name: str, encoding: str | None
) -> Iterator[str]:
    """Upload a long text, whose job then holds no copy of it, and delete it after the block.

    Yields:
        The id of the corpus. One that was there before is used, and stays.
    """
    corpus, is_new = upload_once(client, files, name, encoding=encoding)
    try:
        yield corpus.id
    except typer.Exit:
        # The job goes on and needs the text.
        print_note(f"[dim]Its text stays as the corpus[/] {escape(corpus.name)}.")
        raise
    except BaseException:
        _delete(client, corpus.id if is_new else None)
        raise
    _delete(client, corpus.id if is_new else None)


def _delete(client: Client, corpus: str | None) -> None:
    if corpus is not None:
        with suppress(ApiError):
            client.delete_corpus(corpus, purge=True)


def _decode(name: str, data: bytes, encoding: str | None) -> str:
    try:
        return decode(data, encoding).text
    except RefusedText as error:
        raise refused(name, error) from None
