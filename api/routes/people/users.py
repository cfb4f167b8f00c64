"""Users. Only admins manage them."""

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Conflict, Forbidden
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import json_response, page_response
from api.operations.audit import origin
from api.operations.people.people import find_managed_user
from api.permissions import current_user, require_admin
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import Page, UserPath
from api.schemas.replies import Listing
from api.schemas.server import MeReply, OwnKeyReply, UserReply
from api.schemas.users import NewUser, UserUpdate
from api.services import reading, writing
from shared.accounts import create_user, disable_user, enable_user, in_order
from shared.tables import User

users = Resource("users", "Users")

USERS = SortOrder("users", (User.id,))


@users.get("/me", MeReply)
def read_me() -> Response:
    """Read the user whose key this is, and what the key may be used for."""
    user = current_user()
    key = OwnKeyReply(
        id=user.key_id,
        prefix=user.key_prefix,
        scopes=in_order(user.scopes),
        expires_at=user.key_expires_at,
    )
    return json_response(MeReply(id=user.id, name=user.name, role=user.role, key=key))


@users.get("/users", Listing[UserReply], scope="admin")
def list_users(query: Page) -> Response:
    """List all users, newest first (admins only)."""
    require_admin()
    with reading() as session:
        rows, next_cursor = read_page(session, select(User), USERS, query)
    return page_response((_user_reply(row.User) for row in rows), next_cursor)


@users.post("/users", 201, UserReply, scope="admin")
@creates
def add_user(header: IdempotencyHeader, body: NewUser) -> Response:
    """Create a user, without an API key (admins only)."""
    require_admin()
    return create_once(header, body, lambda session: _create_user(session, body)).response()


@users.patch("/users/<user>", UserReply)
def change_user(path: UserPath, body: UserUpdate) -> Response:
    """Disable or enable a user (for admins, and for a teacher of all the user's groups).

    A disabled user's keys are refused from the next request on, and their queued jobs wait.
    Running jobs continue until they end or are preempted. Admins can't disable themselves. A
    teacher can't enable a user whom an admin disabled.
    """
    caller = current_user()
    with writing() as session:
        user = find_managed_user(session, path.user)
        if not body.disabled:
            if user.disabled_at and not (caller.is_admin or user.disabled_by_teacher):
                raise Forbidden(f"an admin disabled {user.name!r}: only an admin may enable them")
            enable_user(session, user, origin())
        elif user.id == caller.id:
            raise Conflict("you can't disable yourself. Ask another admin")
        else:
            disable_user(session, user, origin(), by_teacher=not caller.is_admin)
        session.flush()
        return json_response(_user_reply(user))


def _create_user(session: Session, body: NewUser) -> Creation:
    user = create_user(session, body.name, body.role, origin())
    return Creation(_user_reply(user), 201, None)


def _user_reply(user: User) -> UserReply:
    return UserReply(
        id=user.id,
        name=user.name,
        role=user.role,
        created_at=user.created_at,
        disabled_at=user.disabled_at,
    )
