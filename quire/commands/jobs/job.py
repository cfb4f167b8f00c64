"""`quire jobs` and `quire job …`: wait_for_job, steer and repeat jobs."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from quire import config
from quire.client.job_html import share_done
from quire.client.outcome import require_success
from quire.client.replies import Job
from quire.commands.jobs.train import watch_training
from quire.commands.jobs.watch import watch
from quire.commands.library.announcement import show_announcement
from quire.errors import ExitCode
from quire.lookup import find_job, find_model, find_newest_job
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    out,
    print_fields,
    print_json,
    print_note,
    print_outcome,
    print_table,
    status_text,
)
from quire.terminal.texts import print_texts_of
from quire.watch.wait import (
    Detached,
    print_detached,
    progress_text,
    short_budget_text,
    wait_for_job,
)

job = typer.Typer(no_args_is_help=True, help="Follow, steer or repeat one job.")

NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The job.")]


def list_jobs(
    kind: Annotated[
        str | None, typer.Option(help="Only jobs of this kind: train, generate.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            help="Only jobs in this status: queued, running, paused, succeeded, failed, cancelled."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Only jobs of this model.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most jobs to show.")] = 20,
    as_json: Json = False,
) -> None:
    """List your jobs, newest first."""
    with config.connect() as client:
        if not as_json:
            show_announcement(client)
        model_id = find_model(client, model).id if model else None
        jobs: list[Job] = []
        for item in client.jobs(kind=kind, status=status, model=model_id):
            jobs.append(item)
            if len(jobs) == limit:
                break
    if as_json:
        print_json(jobs)
        return
    print_table(
        ("ID", "STATUS", "KIND", "CREATED", "NAME", "REASON FOR WAITING"),
        [
            (
                item.id,
                _status_cell(item),
                item.kind,
                formatting.ago(item.created_at),
                escape(item.name or ""),
                escape(item.queue.reason) if item.queue else "",
            )
            for item in jobs
        ],
        empty="No jobs. `quire train --corpus FILE` submits one.",
    )


@job.command("show")
def show(reference: NameOrId, as_json: Json = False) -> None:
    """Show the state of a job, and why it failed or waits. A name means its newest job."""
    with config.connect() as client:
        found = find_newest_job(client, reference)
    if as_json:
        print_json(found)
        return
    progress = progress_text(found.progress) if found.progress else ""
    left = found.progress.seconds_left if found.progress and not found.ended else None
    spec = " ".join(
        f"{name}={value}" for name, value in found.spec.items() if not isinstance(value, dict)
    )
    print_fields(
        [
            ("name", escape(found.name or "")),
            ("id", found.id),
            ("kind", found.kind),
            ("status", _status_cell(found)),
            ("reason", escape(found.error.line()) if found.error else ""),
            ("waits because", escape(found.queue.reason) if found.queue else ""),
            ("starts", _start(found)),
            ("after", found.after or ""),
            ("start before", formatting.when(found.start_before)),
            ("priority", found.priority if found.priority != "normal" else ""),
            ("progress", escape(progress)),
            ("budget", escape(short_budget_text(found)) if found.ended else ""),
            ("time left", formatting.duration(left) if left is not None else ""),
            ("model", found.model or ""),
            ("corpus", found.corpus or ""),
            ("settings", escape(spec)),
            ("attempt", str(found.attempt or "")),
            ("created", formatting.when(found.created_at)),
            ("started", formatting.when(found.started_at)),
            ("ended", formatting.when(found.finished_at)),
            ("took", _took(found)),
        ]
    )
    if found.texts:
        out.print()
        print_texts_of(found)


@job.command("wait")
def wait(reference: NameOrId, as_json: Json = False) -> None:
    """Follow a job to its end. The exit code is 0 only if the job succeeded.

    Ctrl-C stops following; the job goes on.
    """
    with config.connect() as client:
        found = find_job(client, reference)
        try:
            if found.kind == "train":
                found = watch_training(client, found, watch=not as_json)
            else:
                found = wait_for_job(client, found, watch=not as_json)
        except Detached:
            print_detached(found)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(found)
    require_success(found)
    if not as_json and found.texts:
        print_texts_of(found)


job.command("watch")(watch)


@job.command("cancel")
def cancel(reference: NameOrId, as_json: Json = False) -> None:
    """Cancel a job. A training keeps its checkpoints."""
    with config.connect() as client:
        found = client.cancel_job(find_job(client, reference).id)
    state = f"is {found.status}" if found.ended else "stops at its next step"
    print_outcome(found, as_json, f"{_label(found)} {state}.")


@job.command("pause")
def pause(reference: NameOrId, as_json: Json = False) -> None:
    """Pause a job. A training later resumes exactly where it stopped."""
    with config.connect() as client:
        found = client.pause_job(find_job(client, reference).id)
    state = "is paused" if found.status == "paused" else "pauses at its next step"
    print_outcome(
        found, as_json, f"{_label(found)} {state}. Resume it with: quire job resume {found.id}"
    )


@job.command("resume")
def resume(reference: NameOrId, as_json: Json = False) -> None:
    """Put a paused job back into the queue."""
    with config.connect() as client:
        found = client.resume_job(find_job(client, reference).id)
    print_outcome(found, as_json, f"{_label(found)} is {found.status}.")


@job.command("promote")
@job.command("lift", hidden=True)  # its name before 0.2
def promote(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="The job; another user's job is allowed.")
    ],
) -> None:
    """Move a job to the front of the queue, before everyone's jobs (admins)."""
    with config.connect() as client:
        client.promote_job(job_id)
    print_note(f"{escape(job_id)} is next in the queue.")


@job.command("rerun")
def rerun(reference: NameOrId, as_json: Json = False) -> None:
    """Submit a job again, with the same settings and seed."""
    with config.connect() as client:
        found = client.rerun_job(find_job(client, reference).id)
    if as_json:
        print_json(found)
    else:
        out.print(found.id)
        print_note(f"[dim]Queued. Follow it:[/] quire job wait {found.id}")


def _label(item: Job) -> str:
    return escape(item.name or item.id)


def _status_cell(item: Job) -> str:
    share = share_done(item)
    suffix = f" {share:.0%}" if item.status == "running" and share is not None else ""
    if item.queue is not None and item.queue.position is not None:
        suffix = f" #{item.queue.position:,}"
    return status_text(item.status) + suffix


def _start(item: Job) -> str:
    if item.queue is None or item.queue.starts_at is None:
        return ""
    return f"about {formatting.when(item.queue.starts_at)}"


def _took(item: Job) -> str:
    if item.started_at is None:
        return ""
    return formatting.duration(
        ((item.finished_at or datetime.now(UTC)) - item.started_at).total_seconds()
    )
