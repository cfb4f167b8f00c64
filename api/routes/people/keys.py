"""API keys. Admins manage all keys, members their own."""

from flask import Response, request
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.errors import NotFound
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import no_content, page_response
from api.operations.people import find_user
from api.permissions import as_id, current_user
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import KeyPath, Page, UserPath
from api.schemas.replies import Listing
from api.schemas.server import KeyReply, NewKeyReply
from api.schemas.users import NewApiKey
from api.services import reading, services, writing
from shared.accounts import KEY_PATTERN, create_key
from shared.clock import database_now
from shared.scheduling import caps
from shared.tables import ApiKey

keys = Resource("keys", "API keys")

KEYS = SortOrder("keys", (ApiKey.id,))


@keys.get("/users/<user>/keys", Listing[KeyReply])
def list_keys(path: UserPath, query: Page) -> Response:
    """List the API keys of a user, newest first, including revoked ones."""
    with reading() as session:
        user = find_user(session, path.user)
        statement = select(ApiKey).where(ApiKey.user_id == user.id)
        rows, next_cursor = read_page(session, statement, KEYS, query)
    return page_response((_key_reply(row.ApiKey) for row in rows), next_cursor)


@keys.post("/users/<user>/keys", 201, NewKeyReply)
@creates
def add_key(path: UserPath, header: IdempotencyHeader, body: NewApiKey) -> Response:
    """Create an API key. Only this response shows it: a replay has `key: null`.

    Its owner sees who made it, when and from which address.
    """
    return create_once(
        header, body, lambda session: _create_key(session, path.user, body)
    ).response()


@keys.delete("/keys/<key>")
def revoke_key(path: KeyPath) -> Response:
    """Revoke an API key at once. Revoking it again changes nothing."""
    with writing() as session:
        key = _find_key(session, path.key)
        session.execute(
            update(ApiKey)
            .where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=database_now(session.connection()))
        )
    return no_content()


def _create_key(session: Session, reference: str, body: NewApiKey) -> Creation:
    owner, maker = find_user(session, reference), current_user().name
    caps.check_key(session.connection(), services().settings, owner.id)
    new = create_key(session, owner, body.name, maker, request.remote_addr)
    row = session.get_one(ApiKey, new.id)
    reply = NewKeyReply(
        id=new.id, prefix=new.prefix, name=row.name, key=new.key, created_at=row.created_at
    )
    return Creation(reply, 201, None, stored_reply=reply.model_copy(update={"key": None}))


def _find_key(session: Session, reference: str) -> ApiKey:
    user = current_user()
    is_prefix = KEY_PATTERN.fullmatch(f"quire_{reference}_{'0' * 64}") is not None
    condition = ApiKey.prefix == reference if is_prefix else ApiKey.id == as_id("key", reference)
    statement = select(ApiKey).where(condition)
    key = session.scalar(statement if user.is_admin else statement.where(ApiKey.user_id == user.id))
    if key is None:
        raise NotFound("key", reference)
    return key


def _key_reply(key: ApiKey) -> KeyReply:
    return KeyReply(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        made_by=key.made_by,
        made_from=key.made_from,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
