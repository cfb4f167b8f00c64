"""The same POST twice makes one thing: its first answer is kept with what it made.

The key's row is inserted by the transaction that makes the thing, before it is made. So
of two requests at once the second waits for the first's commit (on its row, or on
SQLite's write lock), and then finds its answer.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog
from flask import Response, request
from pydantic import BaseModel
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.authentication import caller
from api.errors import KeyReused
from api.http.responses import answer_json
from api.schemas.headers import Once
from api.services import reading, writing
from shared.clock import database_now
from shared.queue.maintenance.idempotency_keys import forget_expired_keys_of
from shared.tables import IdempotencyKey
from shared.upsert import insert_if_absent

REPLAYED = "Idempotency-Replayed"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """What a request made.

    Attributes:
        reply: What is answered.
        status: With which status.
        location: The address of what was made.
        kept: What a replay answers instead of `reply`, where that holds a secret.
        committed: Called once it is committed.
        whole: Adds to `reply` what takes a while to find out. Nobody waits for it: it is asked
            after `committed`, unless a key is to keep the answer.
    """

    reply: BaseModel
    status: int
    location: str | None = None
    kept: BaseModel | None = None
    committed: Callable[[], object] | None = None
    whole: Callable[[Session, BaseModel], BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a request made, now or the first time."""

    body: dict[str, Any]
    status: int
    location: str | None
    replayed: bool

    def answer(self) -> Response:
        """The result as an answer."""
        headers = {REPLAYED: "true"} if self.replayed else {}
        if self.location is not None:
            headers["Location"] = self.location
        return answer_json(self.body, self.status, headers)


def make_once(header: Once, said: BaseModel | bytes, make: Callable[[Session], Made]) -> Result:
    """Make something in one transaction, unless this key has made it already.

    Args:
        header: Has the key, or none: then the thing is made.
        said: What makes two requests the same, beside their address.
        make: Makes it; called at most once, inside the transaction.

    Raises:
        KeyReused: The key was sent with another request.
    """
    key = header.idempotency_key
    with writing() as session:
        if key is not None:
            request_sha256 = _sha256(said)
            if not _reserve(session, key, request_sha256):
                return _first(session, key, request_sha256)
        made = make(session)
        if key is not None:
            made = _whole(session, made)
            _keep(session, key, made)
    if made.committed is not None:
        made.committed()
    if made.whole is not None:
        try:
            with reading() as session:
                made = _whole(session, made)
        except DBAPIError as error:
            # What was made is committed: an error now would be the wrong answer.
            log.warning("answered_in_part", reason=str(error.orig))
    return Result(_json(made.reply), made.status, made.location, replayed=False)


def _whole(session: Session, made: Made) -> Made:
    if made.whole is None:
        return made
    return replace(made, reply=made.whole(session, made.reply), whole=None)


def _reserve(session: Session, key: str, request_sha256: str) -> bool:
    connection = session.connection()
    now = database_now(connection)
    forget_expired_keys_of(connection, caller().id, now)
    values = {
        "user_id": caller().id,
        "key": key,
        "request_sha256": request_sha256,
        "status": 0,
        "body": {},
        "location": None,
        "created_at": now,
    }
    return insert_if_absent(connection, IdempotencyKey, values)


def _first(session: Session, key: str, request_sha256: str) -> Result:
    row = session.get_one(IdempotencyKey, (caller().id, key))
    if row.request_sha256 != request_sha256:
        raise KeyReused(
            f"Idempotency-Key {key!r} was sent with another request: "
            "use a new key for each thing you want"
        )
    return Result(row.body, row.status, row.location, replayed=True)


def _keep(session: Session, key: str, made: Made) -> None:
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == caller().id, IdempotencyKey.key == key)
        .values(status=made.status, body=_json(made.kept or made.reply), location=made.location)
    )


def _json(reply: BaseModel) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(reply.model_dump_json(exclude_unset=True))
    return parsed


def _sha256(said: BaseModel | bytes) -> str:
    # The fields in the order of their class: the order in which they were sent says nothing.
    written = said if isinstance(said, bytes) else said.model_dump_json(exclude_unset=True).encode()
    return hashlib.sha256(f"{request.method} {request.path}\n".encode() + written).hexdigest()
