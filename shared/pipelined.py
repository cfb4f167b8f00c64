"""Transactions on PostgreSQL whose statements do not wait for each other.

A round trip to the server costs a process that has other threads a switch or two, and often as
much time as the statement. Here a transaction begins together with its first statement, statements
without results are sent and not waited for, and the last ones are sent together with the commit.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

#: For the URL of an engine whose connections can be `pipelined`.
DRIVER = "quire"
registry.register(f"postgresql.{DRIVER}", __name__, "PipelinedDialect")
#: In a connection's `info`: its open pipeline.
_PIPELINE = "quire_pipeline"


@dataclass(slots=True)
class _Pipeline:
    """An open pipeline of the driver, what ends it, and what was sent in it to be read later."""

    driver: Any
    end: ExitStack
    ahead: dict[Any, Any] = field(default_factory=dict)


class PipelinedDialect(PGDialect_psycopg):
    """Psycopg's, with a commit that is sent with the statements before it."""

    supports_statement_cache = True

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit. The driver does not know that an open pipeline is in a transaction."""
        pipeline = _taken_from(dbapi_connection)
        if pipeline is None:
            dbapi_connection.commit()
            return
        with pipeline.end:
            dbapi_connection.driver_connection.execute("COMMIT")

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Roll back, after the pipeline has ended: in it, nothing runs after an error."""
        pipeline = _taken_from(dbapi_connection)
        if pipeline is not None:
            with suppress(self.loaded_dbapi.Error):
                pipeline.end.close()
        dbapi_connection.rollback()


def _taken_from(dbapi_connection: Any) -> _Pipeline | None:
    try:
        taken: _Pipeline | None = dbapi_connection.info.pop(_PIPELINE, None)
    except NotImplementedError:
        # The first connection of an engine, before the pool has it.
        return None
    return taken


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Begin a transaction, for a connection in autocommit mode; the block ends it.

    What goes wrong in a statement that is not waited for is raised by the next one that is, or by
    the commit, which it prevents. So nothing can go on after an error: use no savepoints here.

    Args:
        connection: Of an engine for the driver `DRIVER` that `wait_for_results` was given.
    """
    driver: Any = connection.connection.driver_connection
    # Of the driver's connection: after a loss, SQLAlchemy's has none.
    info = connection.info
    try:
        try:
            with ExitStack() as stack:
                pipeline = stack.enter_context(driver.pipeline())
                info[_PIPELINE] = _Pipeline(pipeline, stack.pop_all())
            driver.execute("BEGIN")
        except connection.dialect.loaded_dbapi.Error:
            # The connection is lost: SQLAlchemy says so in its words, and drops it.
            connection.exec_driver_sql("SELECT 1")
            raise
        yield
    finally:
        # There is one after a loss, and it cannot be ended.
        left: _Pipeline | None = info.pop(_PIPELINE, None)
        if left is not None:
            with suppress(connection.dialect.loaded_dbapi.Error):
                left.end.close()


def sent_ahead(connection: Connection) -> dict[Any, Any] | None:
    """What was sent in a connection's pipeline to be read later; None where there is none."""
    pipeline: _Pipeline | None = connection.info.get(_PIPELINE)
    return None if pipeline is None else pipeline.ahead


def wait_for_results(engine: Engine) -> None:
    """Let SQLAlchemy's own statements run in pipelines, too: it looks at their results at once."""
    event.listen(engine, "after_cursor_execute", _wait)


def _wait(connection: Connection, *_execution: object) -> None:
    pipeline: _Pipeline | None = connection.info.get(_PIPELINE)
    if pipeline is not None:
        pipeline.driver.sync()
