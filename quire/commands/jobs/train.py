"""`quire train`: train a model on a corpus."""

from typing import Annotated, Any

import typer

from quire import config
from quire.client import Client
from quire.client.outcome import require_success
from quire.client.replies import Job, TrainDryRun
from quire.commands.jobs.notify_option import Notify, notify_fields
from quire.commands.jobs.scheduling_options import (
    After,
    Deadline,
    Priority,
    StartBefore,
    scheduling_fields,
)
from quire.commands.jobs.training_inputs import find_checkpoint, find_or_upload, parse_settings
from quire.commands.library import model
from quire.commands.library.announcement import show_announcement
from quire.commands.library.items_options import Column, Items, Separator, shape
from quire.commands.library.uploads import Encoding
from quire.errors import ExitCode, InvalidInput
from quire.lookup import find_job
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    is_interactive,
    out,
    print_json,
    print_note,
    shell_quoted,
)
from quire.watch.wait import (
    Detached,
    print_detached,
    progress_text,
    short_budget_text,
    wait_for_job,
)


def train(
    corpus: Annotated[
        list[str],
        typer.Option(
            metavar="NAME|ID|FILE",
            help="The corpus to learn from; a file or folder is uploaded first. Repeat it to put "
            "several files together.",
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            help="The preset to start from: default, classic, or large (for a GPU).",
            show_default="default",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT|MODEL",
            help="Start from a checkpoint, or from the best checkpoint of a model: train further "
            "on the same text, or fine-tune on another. With a schedule that falls (cosine) only "
            "the weights are taken, and the schedule starts again.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The name of the model.", show_default="the corpus's name")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="The unit of text: char, or word. With word, windows, lengths and losses count "
            "words and punctuation marks.",
            show_default="char",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="How many times to go through the text.", show_default="the preset's"),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="How many seconds to train, instead of a number of epochs."),
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            metavar="spread|tail",
            help="Which part of the text judges the training: pieces spread over all of it, or "
            "its tail.",
            show_default="spread; the preset classic: tail",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set any field of the preset, such as units=128. Repeat it for more fields.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="The seed: on a CPU the same seed and --epochs give the same model. With "
            "--seconds the number of steps depends on the machine's speed."
        ),
    ] = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            help="private, or server: everyone on it may use the model.", show_default="private"
        ),
    ] = None,
    sample: Annotated[
        bool | None,
        typer.Option(
            "--sample/--no-sample",
            help="Write sample texts after every epoch, or never.",
            show_default="after every epoch",
        ),
    ] = None,
    sample_steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Write sample texts after every N steps instead."),
    ] = None,
    encoding: Encoding = None,
    items: Items = None,
    separator: Separator = None,
    column: Column = None,
    priority: Priority = None,
    after: After = None,
    start_before: StartBefore = None,
    deadline: Deadline = None,
    notify: Notify = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Follow the training to its end, or only submit it.",
            show_default="follow on a terminal, submit in a script",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what the training would take and when it would start, and don't submit it. "
            "A FILE is uploaded all the same.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model to write like a corpus.

    Ctrl-C stops following; the training goes on.
    """
    body: dict[str, Any] = parse_settings(settings or [])
    options = {
        "preset": preset,
        "name": name,
        "tokenizer": tokenizer,
        "holdout": holdout,
        "epochs": epochs,
        "budget": None if seconds is None else {"seconds": seconds},
        "seed": seed,
        "visibility": visibility,
    }
    body |= {field: value for field, value in options.items() if value is not None}
    body |= scheduling_fields(priority, start_before, deadline) | notify_fields(notify)
    if sample is not None:
        body["sample"] = {} if sample else None
    if sample_steps is not None:
        if sample is False:
            raise InvalidInput(
                f"--sample-steps {sample_steps} and --no-sample exclude each other: give one"
            )
        body["sample"] = {"every_steps": sample_steps}
    follows = wait if wait is not None else is_interactive() and not as_json
    with config.connect() as client:
        if not as_json:
            show_announcement(client)
        if after is not None:
            body["after"] = find_job(client, after).id
        body["corpus"] = find_or_upload(
            client, corpus, encoding, shape(items, separator, column)
        ).id
        if start_from is not None:
            body["from"] = find_checkpoint(client, start_from)
        if dry_run:
            _print_dry_run(client.dry_run_train(body), as_json)
            return
        job = client.submit_training(body)
        if visibility == "server":
            model.COMMANDS.print_warning()
        if follows:
            try:
                job = watch_training(client, job, watch=not as_json)
            except Detached:
                print_detached(job)
                raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(job)
    elif not follows:
        out.print(job.id)
        print_note(
            f"[dim]Queued as {escape(job.name or '')}. Watch it:[/] quire job watch {job.id}"
        )
    if follows:
        require_success(job)


def _print_dry_run(found: TrainDryRun, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    estimate, place = found.estimate, found.queue
    how = "measured" if estimate.measured else "estimated"
    of_gpu = ""
    if estimate.gpu_memory_bytes is not None:
        of_gpu = f"{formatting.size(estimate.gpu_memory_bytes)} of a GPU's memory, "
    out.print(
        f"{escape(found.name)}: {formatting.duration(estimate.seconds)} ({how} speed), "
        f"{formatting.size(estimate.memory_bytes)} of memory, {of_gpu}"
        f"{formatting.size(estimate.checkpoint_bytes)} for each checkpoint",
        soft_wrap=True,
    )
    out.print(f"Place {place.position} in the line: {escape(place.reason)}", soft_wrap=True)
    print_note("[dim]Nothing was submitted.[/]")


def watch_training(client: Client, job: Job, *, watch: bool) -> Job:
    """Follow a training to its end, then print a line with its result."""
    if watch:
        print_note(f"[dim]Job {job.id}, model[/] [bold]{escape(job.name or '')}[/]")
    job = wait_for_job(client, job, watch=watch)
    if watch and job.status == "succeeded":
        result = progress_text(job.progress) if job.progress else ""
        print_note(f"[green]trained[/] [bold]{escape(job.name or '')}[/]  [dim]{escape(result)}[/]")
        if short := short_budget_text(job):
            print_note(f"[yellow]{escape(short)}.[/]")
        if job.model:
            print_note(
                f"[dim]Generate texts:[/] quire generate {shell_quoted(job.name or job.model)}"
            )
    return job
