"""The peer of benchmarks/serve.py: a Celery task that does nothing, with Quire's own settings.

Its worker runs as ``celery -A benchmarks.peers.noop worker``, with the address in REDIS_URL.
"""

from celery import Celery, shared_task

from shared.broker import celery_url, make_celery
from shared.settings import load_settings

QUEUE = "noop"


def make_app(url: str) -> Celery:
    """Create Quire's Celery app with a result backend on the same Redis, to await the task."""
    app = make_celery(url)
    app.conf.update(
        result_backend=celery_url(url),
        task_ignore_result=False,
        task_default_queue=QUEUE,
        include=["benchmarks.peers.noop"],
    )
    return app


@shared_task(name="noop")  # type: ignore[untyped-decorator]  # Celery has no types
def noop() -> None:
    """Do nothing."""


app = make_app(load_settings().broker) if load_settings().redis_url else None
