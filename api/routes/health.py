"""Health: whether the process lives, and whether it reaches what it needs."""

import redis
import structlog
from flask import Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.http.authentication import allow_anonymous
from api.http.openapi import Resource, returns_non_json
from api.http.responses import answer
from api.schemas.server import LiveReply, ReadyReply
from api.services import reading, services

health = Resource("health", "For whoever watches the server", prefix="/health", needs_key=False)

log = structlog.get_logger(__name__)


@health.get("/live", LiveReply)
@allow_anonymous
@returns_non_json
def live() -> Response:
    """The process answers."""
    return answer(LiveReply(status="ok"))


@health.get("/ready", ReadyReply, also={503: ReadyReply})
@allow_anonymous
@returns_non_json
def ready() -> Response:
    """Which parts the API can reach; 503 where one is down."""
    parts = {"database": _database(), "redis": _redis()}
    down = any(state != "ok" for state in parts.values())
    reply = ReadyReply(status="unavailable" if down else "ok", **parts)
    return answer(reply, 503 if down else 200)


def _database() -> str:
    try:
        with reading() as session:
            session.execute(text("SELECT 1 FROM jobs LIMIT 1"))
    except SQLAlchemyError as error:
        log.warning("database_not_ready", reason=str(getattr(error, "orig", error)).strip())
        return "can't be reached"
    return "ok"


def _redis() -> str:
    try:
        services().broker.ping()
    except (redis.RedisError, OSError) as error:
        log.warning("redis_not_ready", reason=str(error))
        return "can't be reached: jobs are queued, and start more slowly"
    return "ok"
