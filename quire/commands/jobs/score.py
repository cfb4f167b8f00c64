"""`quire score`: how likely a model finds a text."""

from pathlib import Path
from typing import Annotated, Any

import typer

from quire import config
from quire.commands.jobs.generate import WAIT_SECONDS, Checkpoint, Unknown
from quire.commands.library.uploads import Encoding, read_file, refused
from quire.errors import InvalidInput
from quire.lookup import find_model
from quire.terminal.console import Json, out, print_json
from quire.watch.wait import require_success, wait_for_job
from shared.texts.decoding import decode
from shared.texts.findings import RefusedText


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

    The score is in bits per character; lower is likelier.
    """
    if text is not None and file is not None:
        raise InvalidInput(f"--text and {file} exclude each other: give one of them")
    body: dict[str, Any] = {"text": _read_text(file, encoding) if text is None else text}
    options = {"unknown": unknown, "checkpoint": checkpoint, "logprobs": logprobs or None}
    body |= {field: value for field, value in options.items() if value is not None}
    with config.connect() as client:
        body["model"] = find_model(client, model).id
        job = client.score(body, wait_seconds=WAIT_SECONDS)
        if not job.ended:
            job = wait_for_job(client, job, watch=not as_json)
    if as_json:
        print_json(job)
    require_success(job)
    if not as_json:
        [scored] = job.texts or []
        if scored.bits_per_char is None:
            raise InvalidInput("a text of one character has no score: give a longer one")
        out.print(f"{scored.bits_per_char:.4f} [dim]bits per character[/]")


def _read_text(file: Path | None, encoding: str | None) -> str:
    name = "-" if file is None else str(file)
    data = read_file(name)
    try:
        return decode(data, encoding).text
    except RefusedText as error:
        raise refused(name, error) from None
