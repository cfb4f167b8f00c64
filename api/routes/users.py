"""Users and API keys. Admins manage all users and keys, members their own keys."""

from flask import Response, request
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from api.errors import Conflict, Forbidden, NotFound
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import json_response, no_content, page_response
from api.permissions import as_id, current_user, require_admin
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import KeyPath, Page, UserPath
from api.schemas.replies import Listing
from api.schemas.server import KeyReply, MeReply, NewKeyReply, SessionReply, UserReply
from api.schemas.users import NewApiKey, NewUser, UserUpdate
from api.serializers.sessions import sessions_of_keys
from api.services import reading, services, writing
from shared.accounts import (
    KEY_PATTERN,
    NAME_PATTERN,
    create_key,
    create_user,
    disable_user,
    enable_user,
)
from shared.clock import database_now
from shared.scheduling import caps
from shared.tables import ApiKey, User

users = Resource("users", "Users and API keys")

USERS = SortOrder("users", (User.id,))
KEYS = SortOrder("keys", (ApiKey.id,))


@users.get("/me", MeReply)
def read_me() -> Response:
    """Read the user whose key this is."""
    user = current_user()
    return json_response(MeReply(id=user.id, name=user.name, role=user.role))


@users.get("/users", Listing[UserReply])
def list_users(query: Page) -> Response:
    """List all users, newest first (admins only)."""
    require_admin()
    with reading() as session:
        rows, next_cursor = read_page(session, select(User), USERS, query)
    return page_response((_user_reply(row.User) for row in rows), next_cursor)


@users.post("/users", 201, UserReply)
@creates
def add_user(header: IdempotencyHeader, body: NewUser) -> Response:
    """Create a user, without an API key (admins only)."""
    require_admin()
    return create_once(header, body, lambda session: _create_user(session, body)).response()


@users.patch("/users/<user>", UserReply)
def change_user(path: UserPath, body: UserUpdate) -> Response:
    """Disable or enable a user (admins only).

    A disabled user's keys are refused from the next request on, and their queued jobs wait.
    Running jobs continue until they end or are preempted. Admins can't disable themselves.
    """
    admin = require_admin()
    with writing() as session:
        user = _find_user(session, path.user)
        if not body.disabled:
            enable_user(user)
        elif user.id == admin.id:
            raise Conflict("you can't disable yourself. Ask another admin")
        else:
            disable_user(session, user)
        session.flush()
        return json_response(_user_reply(user))


@users.get("/users/<user>/keys", Listing[KeyReply])
def list_keys(path: UserPath, query: Page) -> Response:
    """List the API keys of a user, newest first, including revoked ones."""
    with reading() as session:
        user = _find_user(session, path.user)
        statement = select(ApiKey).where(ApiKey.user_id == user.id)
        rows, next_cursor = read_page(session, statement, KEYS, query)
        open_sessions = sessions_of_keys(session, [row.ApiKey.id for row in rows])
    return page_response(
        (_key_reply(row.ApiKey, open_sessions.get(row.ApiKey.id, [])) for row in rows), next_cursor
    )


@users.post("/users/<user>/keys", 201, NewKeyReply)
@creates
def add_key(path: UserPath, header: IdempotencyHeader, body: NewApiKey) -> Response:
    """Create an API key. Only this response shows it: a replay has `key: null`.

    Its owner sees who made it, when and from which address.
    """
    return create_once(
        header, body, lambda session: _create_key(session, path.user, body)
    ).response()


@users.delete("/keys/<key>")
def revoke_key(path: KeyPath) -> Response:
    """Revoke an API key at once, and with it the browsers that are signed in.

    Revoking it again changes nothing.
    """
    with writing() as session:
        key = _find_key(session, path.key)
        session.execute(
            update(ApiKey)
            .where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=database_now(session.connection()))
        )
    return no_content()


def _create_user(session: Session, body: NewUser) -> Creation:
    user = create_user(session, body.name, body.role)
    return Creation(_user_reply(user), 201, None)


def _create_key(session: Session, reference: str, body: NewApiKey) -> Creation:
    owner, maker = _find_user(session, reference), current_user().name
    caps.check_key(session.connection(), services().settings, owner.id)
    new = create_key(session, owner, body.name, maker, request.remote_addr)
    row = session.get_one(ApiKey, new.id)
    reply = NewKeyReply(
        id=new.id, prefix=new.prefix, name=row.name, key=new.key, created_at=row.created_at
    )
    return Creation(reply, 201, None, stored_reply=reply.model_copy(update={"key": None}))


def _find_user(session: Session, reference: str) -> User:
    # Checked before the lookup, so that a member can't probe for users.
    caller = current_user()
    if not caller.is_admin and reference not in (caller.id, caller.name):
        raise Forbidden("only an admin may see and change another user's keys")
    if not NAME_PATTERN.fullmatch(reference):
        raise NotFound("user", reference)
    found = session.scalars(
        select(User).where(or_(User.name == reference, User.id == _id_or_none(reference)))
    ).all()
    if not found:
        raise NotFound("user", reference)
    return min(found, key=lambda user: user.id != reference)


def _find_key(session: Session, reference: str) -> ApiKey:
    user = current_user()
    is_prefix = KEY_PATTERN.fullmatch(f"quire_{reference}_{'0' * 64}") is not None
    condition = ApiKey.prefix == reference if is_prefix else ApiKey.id == as_id("key", reference)
    statement = select(ApiKey).where(condition)
    key = session.scalar(statement if user.is_admin else statement.where(ApiKey.user_id == user.id))
    if key is None:
        raise NotFound("key", reference)
    return key


def _id_or_none(reference: str) -> str | None:
    try:
        return as_id("user", reference)
    except NotFound:
        return None


def _user_reply(user: User) -> UserReply:
    return UserReply(
        id=user.id,
        name=user.name,
        role=user.role,
        created_at=user.created_at,
        disabled_at=user.disabled_at,
    )


def _key_reply(key: ApiKey, open_sessions: list[SessionReply]) -> KeyReply:
    return KeyReply(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        made_by=key.made_by,
        made_from=key.made_from,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
        sessions=open_sessions,
    )
