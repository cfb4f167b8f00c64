"""Health checks: is the process alive, and can it reach the database and Redis?"""

import redis
import structlog
from flask import Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.http.authentication import allow_anonymous
from api.http.openapi import Resource, returns_non_json
from api.http.responses import json_response
from api.schemas.server import LiveReply, ReadyReply
from api.services import reading, services

health = Resource("health", "Health checks for monitoring", prefix="/health", needs_key=False)

log = structlog.get_logger(__name__)


@health.get("/live", LiveReply)
@allow_anonymous
@returns_non_json
def live() -> Response:
    """Report that the process is alive."""
    return json_response(LiveReply(status="ok"))


@health.get("/ready", ReadyReply, other_responses={503: ReadyReply})
@allow_anonymous
@returns_non_json
def ready() -> Response:
    """Report which services the API can reach; 503 if one is down."""
    states = {"database": _database(), "redis": _redis()}
    down = any(state != "ok" for state in states.values())
    reply = ReadyReply(status="unavailable" if down else "ok", **states)
    return json_response(reply, 503 if down else 200)


def _database() -> str:
    try:
        with reading() as session:
            session.execute(text("SELECT 1 FROM jobs LIMIT 1"))
    except SQLAlchemyError as error:
        log.warning("database_not_ready", reason=str(getattr(error, "orig", error)).strip())
        return "unreachable"
    return "ok"


def _redis() -> str:
    try:
        services().broker.ping()
    except (redis.RedisError, OSError) as error:
        log.warning("redis_not_ready", reason=str(error))
        return "unreachable: jobs are queued, but start later"
    return "ok"
