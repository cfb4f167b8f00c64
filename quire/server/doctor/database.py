"""The database: its schema, its workers, keys without an owner, blobs without rows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, not_, or_, select, text
from sqlalchemy.exc import DBAPIError

from migrations import migrate
from quire.server.doctor.findings import Finding, error, ok, warning
from shared.blobs import NEEDED
from shared.clock import database_now
from shared.database import make_engine, reading
from shared.settings import Settings
from shared.sqlite_connections import journal_mode
from shared.tables import (
    CHUNK_BYTES,
    KINDS,
    RUNNABLE,
    ApiKey,
    Blob,
    BlobChunk,
    Checkpoint,
    Corpus,
    Device,
    Job,
    User,
)
from shared.worker_registry import is_alive

#: Clocks that differ by more make logs hard to compare; leases go by the database's alone.
CLOCK_SECONDS = 2.0
#: Blobs that nobody needs are kept for an hour.
LEFT_OVER_HOURS = 2


def check_database(settings: Settings) -> Iterator[Finding]:
    """Look at the database, and at what its rows tell of workers and bytes."""
    path = settings.database.removeprefix("sqlite:///").partition("?")[0]
    if settings.database.startswith("sqlite") and not Path(path).exists():
        yield warning(
            "database", f"there is none yet at {path}", "run `quire up` or `quire migrate`"
        )
        return
    engine = make_engine(settings.database, pool_size=1)
    try:
        if (schema := _schema(settings)) is not None:
            yield schema
            return
        with reading(engine) as connection:
            yield _version(engine, connection)
            yield _clock(connection)
            yield from _workers(connection, settings)
            yield from _waiting(connection, settings)
            yield from _keys(connection)
            yield from _bytes(connection)
    except DBAPIError as reason:
        yield error(
            "database",
            f"it can't be read: {str(reason.orig).strip().splitlines()[0]}",
            "start it, or correct DATABASE_URL and its password",
        )
    finally:
        engine.dispose()


def _schema(settings: Settings) -> Finding | None:
    """What is wrong with the schema; None if it is this version's."""
    current, newest = migrate.current(settings.database), migrate.newest()
    if current == newest:
        return None
    if current is not None and not migrate.knows(current):
        return error(
            "schema",
            f"{current} is of a newer version of Quire; this one knows up to {newest}",
            "install the version that the server runs",
        )
    return error(
        "schema", f"it is {current or 'empty'}, and this version needs {newest}", "quire migrate"
    )


def _version(engine: Engine, connection: Connection) -> Finding:
    if engine.dialect.name == "postgresql":
        version = connection.scalar(text("SHOW server_version"))
        if connection.scalar(text("SHOW synchronous_commit")) == "off":
            return warning(
                "database",
                f"PostgreSQL {version} has synchronous_commit off: if it dies, it forgets jobs "
                "that it just accepted",
                "set synchronous_commit = on in postgresql.conf, and reload it",
            )
        return ok("database", f"PostgreSQL {version}, schema {migrate.newest()}")
    version = connection.scalar(text("SELECT sqlite_version()"))
    journal = str(connection.scalar(text("PRAGMA journal_mode"))).upper()
    if journal != journal_mode():
        return warning(
            "database",
            f"SQLite {version} with journal {journal}, and this one would use {journal_mode()}: "
            "another SQLite has the file open, or had it last",
            "let all parts use one installation, and restart them",
        )
    if journal != "WAL":
        return warning(
            "database",
            f"SQLite {version} is too old for a write-ahead log that processes share: writers and "
            "readers wait for each other",
            "install the package pysqlite3, which brings a newer one",
        )
    return ok("database", f"SQLite {version}, journal {journal}, schema {migrate.newest()}")


def _clock(connection: Connection) -> Finding:
    offset = abs((database_now(connection) - datetime.now(UTC)).total_seconds())
    if offset > CLOCK_SECONDS:
        return warning(
            "clocks",
            f"this machine's clock and the database's differ by {offset:.0f} s; leases go by the "
            "database's, logs don't",
            "let both follow a time server (timedatectl set-ntp true)",
        )
    return ok("clocks", "this machine's and the database's agree")


def _workers(connection: Connection, settings: Settings) -> Iterator[Finding]:
    now = database_now(connection)
    rows: list[Any] = list(
        connection.execute(select(*Device.__table__.columns).order_by(Device.id))
    )
    alive = [row for row in rows if is_alive(row, now, settings.lease_seconds)]
    if missing := [kind for kind in KINDS if kind not in {row.lane for row in alive}]:
        yield warning(
            "workers",
            f"no live worker takes jobs of the kind {' or '.join(missing)}",
            "start `quire worker`, or `quire up`",
        )
    else:
        hosts = {row.host for row in alive}
        yield ok("workers", f"{len(alive)} on {len(hosts)} hosts: {', '.join(sorted(hosts))}")
    fresh = now - timedelta(seconds=settings.lease_seconds)
    for row in rows:
        if row in alive:
            continue
        seen = row.heartbeat_at
        if row.instance_seen_at is not None and row.instance_seen_at > fresh:
            yield error(
                "workers",
                f"{row.id} has a supervisor and no child since {seen:%Y-%m-%d %H:%M:%S} UTC",
                f"read the log of the workers on {row.host}",
            )
        else:
            yield warning(
                "workers",
                f"{row.id} was heard of last at {seen:%Y-%m-%d %H:%M:%S} UTC",
                f"start the workers on {row.host} again; after a day the row goes by itself",
            )
    versions = {str(sorted(row.versions.items())) for row in alive}
    if len(versions) > 1:
        yield warning(
            "versions",
            f"the workers run {len(versions)} different sets of versions: trainings that move "
            "between them are not exact",
            "install one version on all machines; `quire devices --json` shows theirs",
        )
    elif alive:
        yield ok("versions", "equal on all workers")
    draining = [row.id for row in alive if row.drain_requested_at is not None]
    if draining:
        yield warning(
            "workers", f"{', '.join(draining)} is asked to stop", "it starts again with its worker"
        )


def _waiting(connection: Connection, settings: Settings) -> Iterator[Finding]:
    now = database_now(connection)
    query = (
        select(Job.kind, func.min(Job.created_at), func.count())
        .where(text(RUNNABLE), Job.started_at.is_(None))
        .group_by(Job.kind)
    )
    for kind, since, count in connection.execute(query):
        seconds = (now - since).total_seconds()
        detail = f"{count} of the kind {kind} wait for their start, the oldest for {seconds:.0f} s"
        if seconds > 3600:
            yield warning("queue", detail, "`quire queue` shows who waits for what")
        else:
            yield ok("queue", detail)
    late = select(func.count()).where(
        Job.status == "running",
        Job.lease_expires_at < now - timedelta(seconds=10 * settings.lease_seconds),
    )
    if late_jobs := connection.scalar(late):
        yield error(
            "queue",
            f"{late_jobs} jobs run under a lease that ended long ago, and nobody rescues them",
            "start a worker: each of them looks for such jobs",
        )


def _keys(connection: Connection) -> Iterator[Finding]:
    ownerless = select(func.count()).where(ApiKey.user_id.not_in(select(User.id)))
    if count := connection.scalar(ownerless):
        yield error(
            "keys",
            f"{count} keys have no owner: rows were deleted around Quire",
            "delete them: DELETE FROM api_keys WHERE user_id NOT IN (SELECT id FROM users)",
        )
    admins = select(func.count()).where(User.role == "admin", User.disabled_at.is_(None))
    if not connection.scalar(admins) and connection.scalar(select(func.count(User.id))):
        yield warning(
            "keys", "there is no active admin", "quire user add NAME --role admin --local"
        )
    now = database_now(connection)
    usable = select(func.count()).where(
        ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    )
    yield ok("keys", f"{connection.scalar(usable)} can be used")


def _bytes(connection: Connection) -> Iterator[Finding]:
    pieces = (
        select(func.count())
        .select_from(BlobChunk)
        .where(BlobChunk.sha256 == Blob.sha256)
        .scalar_subquery()
    )
    torn = select(func.count()).where(
        NEEDED, pieces != (Blob.size_bytes + CHUNK_BYTES - 1) // CHUNK_BYTES
    )
    missing = sum(
        connection.scalar(select(func.count()).where(table.sha256.not_in(select(Blob.sha256)))) or 0
        for table in (Corpus, Checkpoint)
    )
    count = missing + (connection.scalar(torn) or 0)
    if count:
        yield error(
            "bytes",
            f"{count} corpora or checkpoints have lost bytes",
            "restore a backup (`quire backup verify` it first), or delete them",
        )
    old = database_now(connection) - timedelta(hours=LEFT_OVER_HOURS)
    left, size = connection.execute(
        select(func.count(), func.sum(Blob.size_bytes)).where(Blob.touched_at < old, not_(NEEDED))
    ).one()
    if left:
        yield warning(
            "bytes",
            f"{left} blobs of {size:,} bytes belong to no row, and no worker has swept them",
            "start a worker, or run `quire gc --yes`",
        )
    if not count and not left:
        yield ok("bytes", "every row has its bytes, and every blob its row")
