"""What `/metrics` shows, in Prometheus's own names and types.

Gauges come from the rows, by few queries whose cost an index bounds. Counters and histograms come
from the counters that ended transactions have raised, so that no retention and no restart lets
them fall.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from sqlalchemy import Connection, Engine, func, literal_column, select, text

from api.operations.figures.storage import measure_storage
from shared.clock import database_now
from shared.counters import (
    BUCKETS,
    ENDED,
    FIRST_CHARACTER,
    HTTP,
    LEASE_LOST,
    RAN,
    RESCUED,
    SUM,
    TOKENS,
    WAITED,
)
from shared.database import reading
from shared.settings import Settings
from shared.tables import (
    KINDS,
    RUNNABLE,
    RUNNING,
    STATUSES,
    SUCCEEDED,
    UNSUCCESSFUL,
    WAITING,
    Counter,
    Device,
    DeviceHealth,
    Job,
    User,
)
from shared.worker_registry import is_alive

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Described = tuple[str, str, str, tuple[str, ...]]
#: Name in `counters`, name that is shown, help, labels.
COUNTERS: tuple[Described, ...] = (
    (ENDED, "quire_jobs_ended", "Jobs that have ended, and why failed ones failed.",
     ("kind", "state", "reason")),
    (RESCUED, "quire_jobs_rescued", "Jobs taken from workers that died or froze.", ()),
    (LEASE_LOST, "quire_lease_lost", "Runs that ended without their lease, and wrote nothing.", ()),
    (TOKENS, "quire_tokens", "Tokens trained on, and tokens generated.", ("kind",)),
)  # fmt: skip
HISTOGRAMS: tuple[Described, ...] = (
    (WAITED, "quire_job_wait_seconds", "From a job's submission to its first start.", ("kind",)),
    (RAN, "quire_job_run_seconds", "Running time of ended jobs, over all attempts.", ("kind",)),
    (FIRST_CHARACTER, "quire_time_to_first_character_seconds",
     "From the submission of a generation to its first token.", ()),
    (HTTP, "http_server_request_duration_seconds", "Requests to the API.",
     ("method", "route", "status")),
)  # fmt: skip

_TOTALS = select(Counter.name, Counter.labels, func.sum(Counter.value)).group_by(
    Counter.name, Counter.labels
)
#: One for each partial index. A statement must repeat its condition.
_JOBS = (
    *(
        select(Job.kind, Job.status, func.count()).where(text(which)).group_by(Job.kind, Job.status)
        for which in (WAITING, RUNNING, UNSUCCESSFUL)
    ),
    # Nearly all jobs. Their index has no status, and a statement that reads none needs no row.
    select(Job.kind, literal_column("'succeeded'"), func.count())
    .where(text(SUCCEEDED))
    .group_by(Job.kind),
)
_OLDEST = (
    select(Job.kind, func.min(Job.created_at))
    .where(text(RUNNABLE), Job.started_at.is_(None))
    .group_by(Job.kind)
)
_OF_USERS = tuple(
    select(User.name, Job.kind, Job.status, func.count())
    .join(User, User.id == Job.user_id)
    .where(text(which))
    .group_by(User.name, Job.kind, Job.status)
    for which in (WAITING, RUNNING)
)


def expose(engine: Engine, settings: Settings, open_streams: int | None) -> bytes:
    """Return the text of `/metrics`.

    Args:
        engine: The database.
        settings: What is shown of users, and how long a silent worker counts as alive.
        open_streams: The open event streams; None if it is not known.
    """
    with reading(engine) as connection:
        families = list(_families(connection, settings, open_streams))
    return bytes(generate_latest(_Collected(families)))


@dataclass(frozen=True)
class _Collected:
    families: list[Metric]

    def collect(self) -> list[Metric]:
        return self.families


def _families(
    connection: Connection, settings: Settings, open_streams: int | None
) -> Iterator[Metric]:
    yield from _job_gauges(connection, settings)
    yield from _worker_gauges(connection, settings)
    yield from _storage_gauges(connection)
    if open_streams is not None:
        yield GaugeMetricFamily("quire_streams", "Open event streams.", value=open_streams)
    totals: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for name, labels, value in connection.execute(_TOTALS):
        totals[name][tuple(json.loads(labels))] = value
    for name, shown, help_, names in COUNTERS:
        family = CounterMetricFamily(shown, help_, labels=names)
        for values, value in sorted((totals[name] or ({} if names else {(): 0.0})).items()):
            family.add_metric(values, value)
        yield family
    for name, shown, help_, names in HISTOGRAMS:
        yield _histogram(name, shown, help_, names, totals[name])


def _histogram(
    name: str, shown: str, help_: str, labels: tuple[str, ...], totals: dict[tuple[str, ...], float]
) -> Metric:
    family = HistogramMetricFamily(shown, help_, labels=labels)
    series: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for values, value in totals.items():
        series[values[:-1]][values[-1]] = value
    for values, counted in sorted(series.items()):
        buckets, below = [], 0.0
        for bound in (*(f"{bound:g}" for bound in BUCKETS[name]), "+Inf"):
            below += counted.get(bound, 0.0)
            buckets.append((bound, below))
        family.add_metric(values, buckets, counted.get(SUM, 0.0))
    return family


def _job_gauges(connection: Connection, settings: Settings) -> Iterator[Metric]:
    counts = {(kind, status): 0 for kind in KINDS for status in STATUSES}
    for query in _JOBS:
        counts.update({(kind, status): n for kind, status, n in connection.execute(query)})
    jobs = GaugeMetricFamily("quire_jobs", "Stored jobs by state.", labels=("kind", "state"))
    for (kind, status), count in counts.items():
        jobs.add_metric((kind, status), count)
    yield jobs
    now: datetime = database_now(connection)
    oldest = dict(connection.execute(_OLDEST).all())
    waiting = GaugeMetricFamily(
        "quire_queue_oldest_seconds",
        "How long the oldest job that could start has waited for its first start.",
        labels=("kind",),
    )
    for kind in KINDS:
        since = oldest.get(kind)
        waiting.add_metric((kind,), 0.0 if since is None else (now - since).total_seconds())
    yield waiting
    if settings.metrics_users:
        users = GaugeMetricFamily(
            "quire_user_jobs", "Unfinished jobs of each user.", labels=("user", "kind", "state")
        )
        for of_users in _OF_USERS:
            for name, kind, status, count in connection.execute(of_users):
                users.add_metric((name, kind, status), count)
        yield users


_BROKEN = select(DeviceHealth.host, DeviceHealth.device).where(DeviceHealth.problem.is_not(None))


def _worker_gauges(connection: Connection, settings: Settings) -> Iterator[Metric]:
    """Workers are seen through their rows, so that one address tells of all machines."""
    now: datetime = database_now(connection)
    busy = GaugeMetricFamily(
        "quire_device_busy",
        "Whether a live worker runs a job; with `slot` where several trainings share a device.",
    )
    broken = GaugeMetricFamily(
        "quire_device_broken",
        "Whether a device is broken or quarantined, or has a worker that can't run jobs though its "
        "supervisor runs.",
        labels=("host", "device"),
    )
    found: dict[tuple[str, str], bool] = {}
    columns = Device.__table__.columns
    for row in connection.execute(select(*columns).order_by(Device.id)):
        device: Any = row
        if is_alive(device, now, settings.lease_seconds):
            place = {"host": row.host, "device": row.device, "lane": row.lane}
            if row.slots > 1:
                place["slot"] = str(row.slot)
            busy.add_sample(busy.name, place, row.current_job_id is not None)
        if (is_broken := _is_broken(row, now, settings.lease_seconds)) is not None:
            key = (row.host, row.device)
            found[key] = found.get(key, False) or is_broken
    for host, device in connection.execute(_BROKEN):
        found[host, device] = True
    for key, is_broken in found.items():
        broken.add_metric(key, is_broken)
    yield busy
    yield broken


def _is_broken(row: Any, now: datetime, lease_seconds: float) -> bool | None:
    """Whether a worker's child is silent while its supervisor runs; None if both are gone."""
    fresh = now - timedelta(seconds=lease_seconds)
    if row.instance_seen_at is None or row.instance_seen_at < fresh:
        return False if row.heartbeat_at >= fresh else None
    return bool(row.heartbeat_at < fresh)


def _storage_gauges(connection: Connection) -> Iterator[Metric]:
    storage = measure_storage(connection)
    stored = GaugeMetricFamily(
        "quire_stored_bytes",
        "Bytes of corpora and of checkpoints as users count them, of distinct blobs, and of the "
        "database with its indices.",
        labels=("what",),
    )
    for what in ("corpora", "checkpoints", "blobs", "database"):
        size = getattr(storage, what)
        if size is not None:
            stored.add_metric((what,), size)
    yield stored
    if storage.disk_free is not None:
        yield GaugeMetricFamily(
            "quire_disk_free_bytes",
            "Free bytes on the disk of an SQLite database. PostgreSQL tells no client of its own.",
            value=storage.disk_free,
        )
