"""Transactions on PostgreSQL whose statements do not wait for each other.

A round trip to the server costs a process that has other threads a switch or two, and often as
much time as the statement. Here a transaction begins together with its first statement, statements
without results are sent and not waited for, and the last ones are sent together with the commit.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

#: In a connection's `info`: its open pipeline, and what was sent ahead in it.
_PIPELINE = "quire_pipeline"
_AHEAD = "quire_ahead"


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """Run a transaction that commits at the end of the block.

    What goes wrong in a statement that is not waited for is raised by the next one that is, or by
    the commit, which it prevents.

    Args:
        connection: Of an engine that `prepare` was given, in autocommit mode. The caller rolls it
            back after an exception.
    """
    driver: Any = connection.connection.driver_connection
    # Of the driver's connection: after a loss, SQLAlchemy's has none.
    info = connection.info
    try:
        with driver.pipeline() as info[_PIPELINE]:
            info[_AHEAD] = {}
            try:
                driver.execute("BEGIN")
                yield
                driver.execute("COMMIT")
            except BaseException:
                # Here, since a pipeline that ends after an error warns of it.
                with suppress(connection.dialect.loaded_dbapi.Error):
                    driver.rollback()
                raise
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemys(connection, error) from error
    finally:
        info.pop(_PIPELINE, None)
        info.pop(_AHEAD, None)


def sent_ahead(connection: Connection) -> dict[Any, Any] | None:
    """What was sent in a connection's pipeline to be read later; None where there is none."""
    found: dict[Any, Any] | None = connection.info.get(_AHEAD)
    return found


def prepare(engine: Engine) -> None:
    """Let SQLAlchemy's own statements run in pipelines, too: it looks at their results at once."""
    event.listen(engine, "after_cursor_execute", _wait)


def _wait(connection: Connection, *_execution: object) -> None:
    pipeline = connection.info.get(_PIPELINE)
    if pipeline is not None:
        pipeline.sync()


def _as_sqlalchemys(connection: Connection, error: Exception) -> Exception:
    dialect = connection.dialect
    driver = connection.connection.dbapi_connection
    is_lost = bool(dialect.is_disconnect(error, driver, None))  # type: ignore[arg-type]
    if is_lost:
        connection.invalidate(error)
    wrapped: Exception = DBAPIError.instance(
        "COMMIT",
        {},
        error,
        dialect.loaded_dbapi.Error,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
    return wrapped
