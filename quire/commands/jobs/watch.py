"""`job watch`: the loss curves, texts and events of a running training."""

from typing import Annotated

import typer

from quire import config
from quire.client.outcome import require_success
from quire.errors import ExitCode
from quire.lookup import find_newest_job
from quire.terminal.console import escape, print_note, shell_quoted
from quire.terminal.texts import print_texts_of
from quire.watch.training import watch_training
from quire.watch.wait import (
    Detached,
    print_detached,
    short_budget_text,
    wait_for_job,
)


def watch(
    reference: Annotated[str, typer.Argument(metavar="NAME|ID", help="The job.")],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print each point of the loss curves as one line of JSON."),
    ] = False,
) -> None:
    """Watch a training live: its loss curves, newest texts and events.

    A name means its newest training.

    On a terminal, the curves are drawn as they grow. Elsewhere, one line is
    printed per event, point and text.

    With --json, each point of the curves is one line, such as
    {"step": 60, "epoch": 0.5, "loss": 2.1, "val_loss": null, …}
    where val_loss is set if the model was validated at that step.
    Steps that are repeated after a resume are printed again.

    Exits with the job: 0 if it succeeded, 1 if it failed or was cancelled.
    Ctrl-C leaves the job running and exits with 130.
    If the server restarts meanwhile, the command reconnects.
    """
    with config.connect() as client:
        job = find_newest_job(client, reference, "train", "generate")
        try:
            if job.kind == "train":
                job = watch_training(client, job, as_json)
            else:
                job = wait_for_job(client, job, watch=not as_json)
        except Detached:
            print_detached(job, "watch")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        if job.kind == "generate" and job.texts and not as_json:
            print_texts_of(job)
    require_success(job)
    if job.kind == "train" and not as_json:
        if short := short_budget_text(job):
            print_note(f"[yellow]{escape(short)}.[/]")
        name = shell_quoted(job.name or job.id)
        print_note(f"[dim]Generate texts:[/] quire generate {name}")
        print_note(f"[dim]Write a report:[/] quire report {job.id} -o report.html")
