"""The spans of requests that submit jobs: from the request, and from its transaction.

A request that only reads belongs to no job, and has none.
"""

import time

from flask import g, request

from api.services import services


def begin_submission() -> None:
    """Note that the request begins to submit what it was checked to ask for."""
    if services().traces is not None:
        g.setdefault("submission_began", time.monotonic())


def submitted(job_id: str, at: float | None = None) -> None:
    """Record that a job is committed, from the thread of its request.

    Args:
        job_id: The job.
        at: When, by `time.monotonic`; now by default.
    """
    traces = services().traces
    if traces is None:
        return
    now = time.monotonic() if at is None else at
    traces.record(job_id, "submit", g.get("submission_began", now), now, {})
    g.setdefault("submitted_jobs", []).append(job_id)


def end_request(status: int, seconds: float) -> None:
    """Record the request in the trace of each job that it has submitted.

    Args:
        status: The status of the response.
        seconds: How long the request took.
    """
    traces = services().traces
    if traces is None or "submitted_jobs" not in g:
        return
    now = time.monotonic()
    route = "" if request.url_rule is None else request.url_rule.rule
    about: dict[str, str | int] = {
        "http.request.method": request.method,
        "http.route": route,
        "http.response.status_code": status,
        "quire.request": g.request_id,
    }
    for job_id in g.submitted_jobs:
        error = str(status) if status >= 500 else None
        name = f"{request.method} {route}"
        traces.record(job_id, name, now - seconds, now, about, error=error, root=True)
