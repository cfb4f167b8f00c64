"""API keys. Admins manage all keys, members their own."""

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import NotFound
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import no_content, page_response
from api.operations.audit import origin
from api.operations.people.people import find_user, granted_expiry, granted_scopes
from api.permissions import as_id, current_user
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import KeyPath, Page, UserPath
from api.schemas.replies import Listing
from api.schemas.server import KeyReply, NewKeyReply, SessionReply
from api.schemas.users import NewApiKey
from api.serializers.sessions import sessions_of_keys
from api.services import reading, services, writing
from shared import accounts
from shared.accounts import KEY_PATTERN
from shared.scheduling import cap_checks
from shared.tables import ApiKey

keys = Resource("keys", "API keys, and what each may be used for")

KEYS = SortOrder("keys", (ApiKey.id,))


@keys.get("/users/<user>/keys", Listing[KeyReply])
def list_keys(path: UserPath, query: Page) -> Response:
    """List the API keys of a user, newest first, including expired and revoked ones."""
    with reading() as session:
        user = find_user(session, path.user)
        statement = select(ApiKey).where(ApiKey.user_id == user.id)
        rows, next_cursor = read_page(session, statement, KEYS, query)
        open_sessions = sessions_of_keys(session, [row.ApiKey.id for row in rows])
    return page_response(
        (_reply(row.ApiKey, open_sessions.get(row.ApiKey.id, [])) for row in rows), next_cursor
    )


@keys.post("/users/<user>/keys", 201, NewKeyReply, scope="manage")
@creates
def add_key(path: UserPath, header: IdempotencyHeader, body: NewApiKey) -> Response:
    """Create an API key. Only this response shows it: a replay has `key: null`.

    Its owner sees who made it, when and from which address. It may do no more than the key that
    makes it; a key that expires makes no key for its own user that outlives it.
    """
    return create_once(header, body, lambda session: _create(session, path.user, body)).response()


@keys.delete("/keys/<key>")
def revoke_key(path: KeyPath) -> Response:
    """Revoke an API key at once, and with it the browsers that are signed in.

    Revoking it again changes nothing.
    """
    with writing() as session:
        accounts.revoke_key(session, _find(session, path.key), origin())
    return no_content()


def _create(session: Session, reference: str, body: NewApiKey) -> Creation:
    owner = find_user(session, reference)
    scopes = granted_scopes(owner, body.scopes)
    expires_at = granted_expiry(session, owner, body.expires_at)
    cap_checks.check_key(session.connection(), services().settings, owner.id)
    new = accounts.create_key(
        session, owner, body.name, origin(), scopes=scopes, expires_at=expires_at
    )
    row = session.get_one(ApiKey, new.id)
    reply = NewKeyReply(
        id=new.id,
        prefix=new.prefix,
        name=row.name,
        key=new.key,
        scopes=scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
    return Creation(reply, 201, None, stored_reply=reply.model_copy(update={"key": None}))


def _find(session: Session, reference: str) -> ApiKey:
    user = current_user()
    is_prefix = KEY_PATTERN.fullmatch(f"quire_{reference}_{'0' * 64}") is not None
    condition = ApiKey.prefix == reference if is_prefix else ApiKey.id == as_id("key", reference)
    statement = select(ApiKey).where(condition)
    key = session.scalar(statement if user.is_admin else statement.where(ApiKey.user_id == user.id))
    if key is None:
        raise NotFound("key", reference)
    return key


def _reply(key: ApiKey, open_sessions: list[SessionReply]) -> KeyReply:
    return KeyReply(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        scopes=key.scopes.split(),
        made_by=key.made_by,
        made_from=key.made_from,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        sessions=open_sessions,
    )
