"""`train`: submit a training, and watch it learn."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from quire import config
from quire.client import Client
from quire.client.replies import Corpus, Job
from quire.commands.corpus import describe, read_file, upload_once
from quire.commands.lookup import find_corpus, find_job, find_model, is_id
from quire.commands.options import After, Deadline, Priority, StartBefore, order_fields
from quire.errors import ExitCode, InvalidInput, NotFound
from quire.terminal.console import Json, is_interactive, out, print_json, print_note, shell_quoted
from quire.watch.wait import Detached, print_detached, progress_text, require_success, wait_for_job

#: What `--set` may not touch, because it has an option or an argument of its own.
OWN_OPTIONS = frozenset(
    {"corpus", "from", "preset", "name", "visibility", "tokenizer", "epochs", "budget", "seed"}
    | {"sample", "priority", "after", "start_before", "deadline", "deadline_seconds"}
)


def train(
    corpus: Annotated[
        str,
        typer.Option(metavar="NAME|ID|FILE", help="What to learn from; a file is uploaded first."),
    ],
    preset: Annotated[
        str | None, typer.Option(help="default, classic, or large (for a GPU).")
    ] = None,
    begin_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT|MODEL",
            help="Begin from a checkpoint, or from the best one of a model: more epochs on the "
            "same text, or fine-tuning on another. With a schedule that falls (cosine) it takes "
            "the weights and begins the schedule anew.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name; its corpus's by default.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="What is read and written one after the other: char (default), or word. Windows, "
            "lengths and losses then count words and punctuation."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="How often to read the text; the preset's by default.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long to train, instead of --epochs.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NUMBER=VALUE",
            help="Change any number of the preset, such as units=128. Repeat it for more.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same training (on a CPU).")] = None,
    visibility: Annotated[
        str | None, typer.Option(help="private (default), or server: everybody may use the model.")
    ] = None,
    sample: Annotated[
        bool | None,
        typer.Option(
            "--sample/--no-sample",
            help="Write texts after every epoch (the default), or never.",
        ),
    ] = None,
    sample_steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Write texts after every N steps instead."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of an uploaded FILE; UTF-8 by default.")
    ] = None,
    priority: Priority = None,
    after: After = None,
    start_before: StartBefore = None,
    deadline: Deadline = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Follow the training to its end. Default: yes on a terminal, no in a script.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Teach a network to write like a text.

    Ctrl-C while following leaves the training running.
    """
    body: dict[str, Any] = parse_settings(settings or [])
    options = {
        "preset": preset,
        "name": name,
        "tokenizer": tokenizer,
        "epochs": epochs,
        "budget": None if seconds is None else {"seconds": seconds},
        "seed": seed,
        "visibility": visibility,
    }
    body |= {field: value for field, value in options.items() if value is not None}
    body |= order_fields(priority, start_before, deadline)
    if sample is not None:
        body["sample"] = {} if sample else None
    if sample_steps is not None:
        if sample is False:
            raise InvalidInput(f"--sample-steps {sample_steps} and --no-sample: give one of them")
        body["sample"] = {"every_steps": sample_steps}
    following = wait if wait is not None else is_interactive() and not as_json
    with config.connect() as client:
        if after is not None:
            body["after"] = find_job(client, after).id
        body["corpus"] = find_or_upload(client, corpus, encoding).id
        if begin_from is not None:
            body["from"] = find_checkpoint(client, begin_from)
        job = client.train(body)
        if following:
            try:
                job = watch_training(client, job, watch=not as_json)
            except Detached:
                print_detached(job)
                raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(job)
    elif not following:
        out.print(job.id)
        print_note(
            f"[dim]Queued as {escape(job.name or '')}. See it learn:[/] quire job watch {job.id}"
        )
    if following:
        require_success(job)


def watch_training(client: Client, job: Job, *, watch: bool) -> Job:
    """Follow a training to its end and say in a line how it went."""
    if watch:
        print_note(f"[dim]Job {job.id}, model[/] [bold]{escape(job.name or '')}[/]")
    job = wait_for_job(client, job, watch=watch)
    if watch and job.status == "succeeded":
        learnt = progress_text(job.progress) if job.progress else ""
        print_note(f"[green]trained[/] [bold]{escape(job.name or '')}[/]  [dim]{escape(learnt)}[/]")
        if job.model:
            print_note(
                f"[dim]Let it write:[/] quire generate {shell_quoted(job.name or job.model)}"
            )
    return job


def find_or_upload(client: Client, reference: str, encoding: str | None) -> Corpus:
    """The corpus of that name or id; else the file of that name, uploaded.

    A file whose text the server has already under its name is not uploaded again.
    """
    path = Path(reference).expanduser()
    looks_like_file = "/" in reference or path.is_file()
    if looks_like_file and not is_id(reference):
        data = read_file(reference)
        corpus, is_new = upload_once(client, data, path.stem, encoding=encoding)
        print_note(f"{'Uploaded' if is_new else 'Already there:'} {describe(corpus)}.")
        return corpus
    try:
        return find_corpus(client, reference)
    except NotFound as error:
        raise NotFound(f"{error}; nor is there a file {reference!r} here") from None


def find_checkpoint(client: Client, reference: str) -> str:
    """The id of a checkpoint: given as it is, or as a model whose best one is meant.

    Raises:
        NotFound: There is neither, or the model has no checkpoint yet.
    """
    try:
        model = find_model(client, reference)
    except NotFound:
        if is_id(reference):
            return reference
        raise
    best = (model.checkpoints or {}).get("best")
    if best is None:
        raise NotFound(f"model {model.name!r} has no checkpoint to begin from yet")
    return str(best)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["units=128", "clip_norm=null"]`` to the fields of a request.

    Raises:
        InvalidInput: One is not NUMBER=VALUE, comes twice, or has an option of its own.
    """
    fields: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        field = field.strip().replace("-", "_")
        if not (field and equals and value.strip()):
            raise InvalidInput(f"--set {setting}: write it as NUMBER=VALUE, such as units=128")
        if field in OWN_OPTIONS:
            option = "seconds" if field == "budget" else field.replace("_", "-")
            raise InvalidInput(f"--set {setting}: use the option --{option} for it")
        if field in fields:
            raise InvalidInput(f"--set {field} is given twice")
        fields[field] = _value(value.strip())
    return fields


def _value(text: str) -> Any:
    if text.lower() in {"none", "null"}:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text  # a word, such as optimizer=adam
    return value
