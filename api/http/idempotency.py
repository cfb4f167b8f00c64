"""Idempotency keys: repeating a POST creates one resource and returns the first response.

The key's row is inserted in the transaction that creates the resource, before the resource. Of
two concurrent requests the second therefore waits for the first one's commit (on that row, or on
SQLite's write lock) and then finds the stored response.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from flask import Response, request
from pydantic import BaseModel
from sqlalchemy import Connection, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.errors import KeyReused
from api.http.responses import raw_json_response
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader
from api.services import reading, services, writing
from shared.clock import database_now
from shared.database import flush
from shared.queue.maintenance.idempotency_keys import forget_expired_keys_of, is_expired
from shared.tables import IdempotencyKey
from shared.upsert import insert_if_absent, insert_new

REPLAYED = "Idempotency-Replayed"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Creation:
    """A resource that a request has created.

    Attributes:
        reply: The response body.
        status: The response status.
        location: The URL path of the resource.
        stored_reply: What a replay returns instead of `reply`, if that holds a secret.
        after_commit: Called after the commit.
        complete_reply: Adds what takes a while to find out to `reply`. It is called after
            `after_commit`, so that it delays nobody, unless a key has to store the response.
    """

    reply: BaseModel
    status: int
    location: str | None = None
    stored_reply: BaseModel | None = None
    after_commit: Callable[[], object] | None = None
    complete_reply: Callable[[Session, BaseModel], BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An idempotency key, and what its request has created."""

    user_id: str
    key: str
    request_sha256: str
    creation: Creation


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a POST, from this request or replayed from the first one."""

    reply: BaseModel | dict[str, Any]
    status: int
    location: str | None
    replayed: bool

    @property
    def body(self) -> dict[str, Any]:
        """The reply as JSON. A request that waits for its job's end hardly ever needs it."""
        return self.reply if isinstance(self.reply, dict) else _json(self.reply)

    def response(self) -> Response:
        """Return the result as a response."""
        headers = {REPLAYED: "true"} if self.replayed else {}
        if self.location is not None:
            headers["Location"] = self.location
        return raw_json_response(self.body, self.status, headers)


def find_result(header: IdempotencyHeader, content: BaseModel | bytes) -> Result | None:
    """Return the stored result of this key, without waiting for a request that is under way.

    It saves a repeated request what comes before the transaction of `create_once`.

    Raises:
        KeyReused: The key came with a different request before.
    """
    key = header.idempotency_key
    if key is None:
        return None
    with reading() as session:
        row = session.get(IdempotencyKey, (current_user().id, key))
        if row is None or is_expired(row.created_at, database_now(session.connection())):
            return None
        return _stored_result(session, key, _sha256(content))


def create_once(
    header: IdempotencyHeader, content: BaseModel | bytes, create: Callable[[Session], Creation]
) -> Result:
    """Create a resource in one transaction, unless this key has created it already.

    Args:
        header: Holds the key. Without one the resource is always created.
        content: What must be equal in two requests with one key, besides method and path.
        create: Creates the resource; called at most once, inside the transaction.

    Raises:
        KeyReused: The key came with a different request before.
    """
    key = header.idempotency_key
    with writing() as session:
        if key is not None:
            request_sha256 = _sha256(content)
            if not _reserve(session, key, request_sha256):
                return _stored_result(session, key, request_sha256)
        creation = create(session)
        if key is not None:
            creation = _complete(session, creation)
            _store(session, current_user().id, key, creation)
    return answer(creation)


def answer(creation: Creation) -> Result:
    """Return the result of a creation that is committed, after what it does after the commit."""
    if creation.after_commit is not None:
        creation.after_commit()
    if creation.complete_reply is not None:
        try:
            with reading() as session:
                creation = _complete(session, creation)
        except DBAPIError as error:
            # The resource is committed, so an error response would be wrong.
            log.warning("reply_incomplete", reason=str(error.orig))
    return Result(creation.reply, creation.status, creation.location, replayed=False)


def digest_if_keyed(header: IdempotencyHeader, content: BaseModel | bytes) -> str | None:
    """Return what tells this request from another one with its key; None without a key."""
    return None if header.idempotency_key is None else _sha256(content)


def store_new(connection: Connection, keys: Sequence[StoredKey], now: datetime) -> list[StoredKey]:
    """Store keys with the results of their requests, in the transaction that creates.

    Returns:
        Those that were new. `create_once` answers the requests of the others.
    """
    # In one order, so that two transactions with the same keys don't wait for each other. Of two
    # requests with one key, the first one counts.
    by_key: dict[tuple[Any, ...], StoredKey] = {
        (row.user_id, row.key): row for row in reversed(keys)
    }
    values = [
        {
            "user_id": user_id,
            "key": key,
            "request_sha256": row.request_sha256,
            "status": row.creation.status,
            "body": _json(row.creation.stored_reply or row.creation.reply),
            "location": row.creation.location,
            "created_at": now,
        }
        for (user_id, key), row in sorted(by_key.items())
    ]
    return [by_key[name] for name in insert_new(connection, IdempotencyKey, values)]


def store_completed(session: Session, key: StoredKey) -> Creation:
    """Complete the reply of a creation in its transaction, and store it with the key.

    Returns:
        The creation with that reply.
    """
    creation = _complete(session, key.creation)
    _store(session, key.user_id, key.key, creation)
    return creation


def _complete(session: Session, creation: Creation) -> Creation:
    if creation.complete_reply is None:
        return creation
    reply = creation.complete_reply(session, creation.reply)
    return replace(creation, reply=reply, complete_reply=None)


def _reserve(session: Session, key: str, request_sha256: str) -> bool:
    connection = session.connection()
    now = database_now(connection)
    forget_expired_keys_of(connection, current_user().id, now)
    values = {
        "user_id": current_user().id,
        "key": key,
        "request_sha256": request_sha256,
        "status": 0,
        "body": {},
        "location": None,
        "created_at": now,
    }
    return insert_if_absent(connection, IdempotencyKey, values)


def _stored_result(session: Session, key: str, request_sha256: str) -> Result:
    row = session.get_one(IdempotencyKey, (current_user().id, key))
    if row.request_sha256 != request_sha256:
        raise KeyReused(
            f"Idempotency-Key {key!r} came with a different request before. "
            "Use a new key for each resource"
        )
    # The first request may still wait, with a commit that has not waited for the disk.
    flush(services().engine)
    return Result(row.body, row.status, row.location, replayed=True)


def _store(session: Session, user_id: str, key: str, creation: Creation) -> None:
    reply = creation.stored_reply or creation.reply
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
        .values(status=creation.status, body=_json(reply), location=creation.location)
    )


def _json(reply: BaseModel) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(reply.model_dump_json(exclude_unset=True))
    return parsed


def _sha256(content: BaseModel | bytes) -> str:
    # A model dumps its fields in the class's order, so the order in the request does not count.
    data = (
        content
        if isinstance(content, bytes)
        else content.model_dump_json(exclude_unset=True).encode()
    )
    return hashlib.sha256(f"{request.method} {request.path}\n".encode() + data).hexdigest()
