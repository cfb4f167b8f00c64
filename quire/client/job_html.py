"""A job as a notebook shows it, and the words and numbers of its progress."""

from collections.abc import Sequence

from quire.client import curves, html
from quire.client.replies import Job, Metric, Progress

ACTIVITIES = {"train": "training", "generate": "generating"}


def job_html(job: Job, points: Sequence[Metric]) -> str:
    """Render a job: its state and progress, and the loss curves of a training."""
    lines = [
        line for line in (progress_line(job.progress), waiting_line(job), error_line(job)) if line
    ]
    share = None if job.ended else share_done(job)
    return html.panel(job.name or job.id, job.status, lines, share, _chart(points))


def share_done(job: Job) -> float | None:
    """Return the share of a job's steps that are done, or None where it is unknown."""
    progress = job.progress
    if progress is None or progress.step is None or not progress.steps_total:
        return None
    return min(1.0, progress.step / progress.steps_total)


def activity(job: Job) -> str:
    """Return what a job does now, in a word."""
    if job.status != "running":
        return job.status
    return "stopping" if job.cancel_requested else ACTIVITIES.get(job.kind, job.kind)


def progress_line(progress: Progress | None) -> str:
    """Return ``epoch 4.5 of 10 · loss 1.532 · …``, without what is unknown."""
    if progress is None:
        return ""
    parts = []
    if progress.epoch is not None and progress.epochs:
        parts.append(f"epoch {progress.epoch:.1f} of {round(progress.epochs, 1):g}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.val_loss is not None:
        parts.append(f"validation loss {progress.val_loss:.3f}")
    if progress.bits_per_char is not None:
        parts.append(f"{progress.bits_per_char:.2f} bits/char")
    if progress.seconds_left:
        parts.append(f"{progress.seconds_left:,.0f} s left")
    return " · ".join(parts)


def waiting_line(job: Job) -> str:
    """Return why a queued job waits."""
    return job.queue.reason if job.status == "queued" and job.queue is not None else ""


def error_line(job: Job) -> str:
    """Return why a job failed."""
    return job.error.line() if job.error is not None else ""


def _chart(points: Sequence[Metric]) -> str:
    y_range = curves.loss_range(points)
    if y_range is None:
        return ""
    lines = [
        ("training loss", [(float(p.step), p.loss) for p in curves.training(points)
                           if p.loss is not None]),
        ("validation loss", [(float(p.step), p.val_loss) for p in curves.validation(points)
                             if p.val_loss is not None]),
    ]  # fmt: skip
    return html.curves(lines, y_range, "step")
