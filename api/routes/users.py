"""Users and their keys. Admins manage everybody's; members their own keys."""

from flask import Response
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from api.errors import Conflict, Forbidden, NotFound
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import answer, page_response, no_content
from api.permissions import as_id, require_admin, current_user
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import KeyPath, UserPath, Page
from api.schemas.replies import Listing
from api.schemas.server import KeyReply, MeReply, NewKeyReply, UserReply
from api.schemas.users import NewApiKey, NewUser, UserUpdate
from api.services import reading, writing
from shared.accounts import KEY_FORM, NAME_FORM, create_key, create_user, disable_user, enable_user
from shared.clock import database_now
from shared.tables import ApiKey, User

users = Resource("users", "People and their keys")

USERS = SortOrder("users", (User.id,))
KEYS = SortOrder("keys", (ApiKey.id,))


@users.get("/me", MeReply)
def read_me() -> Response:
    """Whose key this is."""
    me = current_user()
    return answer(MeReply(id=me.id, name=me.name, role=me.role))


@users.get("/users", Listing[UserReply])
def list_users(query: Page) -> Response:
    """Everybody, newest first (admins only)."""
    require_admin()
    with reading() as session:
        rows, next_cursor = read_page(session, select(User), USERS, query)
    return page_response((_user_reply(row.User) for row in rows), next_cursor)


@users.post("/users", 201, UserReply)
def add_user(header: IdempotencyHeader, body: NewUser) -> Response:
    """Make a user, without a key yet (admins only)."""
    require_admin()
    return create_once(header, body, lambda session: _add_user(session, body)).answer()


@users.patch("/users/<user>", UserReply)
def change_user(path: UserPath, body: UserUpdate) -> Response:
    """Disable a user, or enable them again (admins only).

    The keys of who is disabled are refused from the next request on, and their jobs wait. What
    of theirs runs goes on to its end, or until it has to give way to others. Admins can't disable
    themselves.
    """
    me = require_admin()
    with writing() as session:
        user = _managed(session, path.user)
        if not body.disabled:
            enable_user(user)
        elif user.id == me.id:
            raise Conflict("you would disable yourself: another admin can do it")
        else:
            disable_user(session, user)
        session.flush()
        return answer(_user_reply(user))


@users.get("/users/<user>/keys", Listing[KeyReply])
def list_keys(path: UserPath, query: Page) -> Response:
    """The keys of a user, newest first, revoked ones included."""
    with reading() as session:
        user = _managed(session, path.user)
        statement = select(ApiKey).where(ApiKey.user_id == user.id)
        rows, next_cursor = read_page(session, statement, KEYS, query)
    return page_response((_key_reply(row.ApiKey) for row in rows), next_cursor)


@users.post("/users/<user>/keys", 201, NewKeyReply)
def add_key(path: UserPath, header: IdempotencyHeader, body: NewApiKey) -> Response:
    """Make a key. It is shown in this answer and never again: a replay has `key: null`."""
    return create_once(header, body, lambda session: _add_key(session, path.user, body)).answer()


@users.delete("/keys/<key>")
def revoke_key(path: KeyPath) -> Response:
    """Revoke a key at once; revoking it again changes nothing."""
    with writing() as session:
        key = _managed_key(session, path.key)
        session.execute(
            update(ApiKey)
            .where(ApiKey.id == key.id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=database_now(session.connection()))
        )
    return no_content()


def _add_user(session: Session, body: NewUser) -> Creation:
    user = create_user(session, body.name, body.role)
    return Creation(_user_reply(user), 201, None)


def _add_key(session: Session, reference: str, body: NewApiKey) -> Creation:
    new = create_key(session, _managed(session, reference), body.name)
    row = session.get_one(ApiKey, new.id)
    reply = NewKeyReply(
        id=new.id, prefix=new.prefix, name=row.name, key=new.key, created_at=row.created_at
    )
    return Creation(reply, 201, None, kept=reply.model_copy(update={"key": None}))


def _managed(session: Session, reference: str) -> User:
    # Refused before anything is looked for: a member learns nothing of who there is.
    me = current_user()
    if not me.is_admin and reference not in (me.id, me.name):
        raise Forbidden("only an admin may see and change the keys of others")
    if not NAME_FORM.fullmatch(reference):
        raise NotFound("user", reference)
    found = session.scalars(
        select(User).where(or_(User.name == reference, User.id == _id_or_none(reference)))
    ).all()
    if not found:
        raise NotFound("user", reference)
    return min(found, key=lambda user: user.id != reference)


def _managed_key(session: Session, reference: str) -> ApiKey:
    me = current_user()
    prefix = KEY_FORM.fullmatch(f"quire_{reference}_{'0' * 64}") is not None
    which = ApiKey.prefix == reference if prefix else ApiKey.id == as_id("key", reference)
    statement = select(ApiKey).where(which)
    key = session.scalar(statement if me.is_admin else statement.where(ApiKey.user_id == me.id))
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


def _key_reply(key: ApiKey) -> KeyReply:
    return KeyReply(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
