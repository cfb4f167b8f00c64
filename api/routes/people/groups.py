"""Groups: admins make them; teachers manage their members and the members' caps."""

from collections.abc import Sequence
from typing import Any

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Forbidden, Invalid
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import json_response, no_content, page_response
from api.operations.audit import record
from api.operations.people.groups import (
    add_member,
    check_update,
    find_group,
    find_member,
    hold_back_users_made,
    known_groups,
    member_counts,
    require_manager,
)
from api.permissions import current_user, require_admin
from api.schemas.groups import (
    GroupPath,
    GroupReply,
    GroupUpdate,
    GroupUseReply,
    MemberPath,
    MemberReply,
    MemberUpdate,
    NewGroup,
    NewMember,
)
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import Page
from api.schemas.replies import Listing
from api.services import reading, writing
from shared.audit import Action
from shared.clock import database_now
from shared.groups import create_group, delete_group, remove_member
from shared.scheduling.accounting import held_today, running_trainings
from shared.scheduling.groups import uses_of
from shared.tables import Group, GroupRole, Membership, User

groups = Resource("groups", "Groups of users, such as a class")

GROUPS = SortOrder("groups", (Group.id,))
MEMBERS = SortOrder("members", (Membership.user_id,))


@groups.get("/groups", Listing[GroupReply])
def list_groups(query: Page) -> Response:
    """List the groups that you are in, newest first; as an admin, all groups."""
    with reading() as session:
        rows, next_cursor = read_page(session, known_groups(), GROUPS, query)
        return page_response(_group_replies(session, rows), next_cursor)


@groups.post("/groups", 201, GroupReply, scope="admin")
@creates
def add_group(header: IdempotencyHeader, body: NewGroup) -> Response:
    """Create a group (admins only).

    Its caps bind its members and not its teachers. `max_…` bounds all members together;
    `member_max_…` replaces the server's default for each member. A member of several groups has
    the most generous of these, and counts in each group.
    """
    require_admin()
    return create_once(header, body, lambda session: _create_group(session, body)).response()


@groups.get("/groups/<group>", GroupReply)
def read_group(path: GroupPath) -> Response:
    """Read a group that you are in; as an admin, any group."""
    with reading() as session:
        return json_response(_group_reply(session, *find_group(session, path.group)))


@groups.patch("/groups/<group>", GroupReply)
def change_group(path: GroupPath, body: GroupUpdate) -> Response:
    """Change a group: its end and its caps.

    A teacher may change the caps of each member (`member_max_…`), up to the cap of the whole group,
    or where that has none, up to the server's default. Everything else is the admins'.
    """
    with writing() as session:
        group = require_manager(session, path.group, lock=True)
        check_update(group, body)
        for field in body.model_fields_set:
            setattr(group, field, getattr(body, field))
        changes = body.model_dump(mode="json", exclude_unset=True)
        record(session, "group.changed", resource=("group", group.id), name=group.name, **changes)
        session.flush()
        return json_response(_group_reply(session, *find_group(session, group.id)))


@groups.delete("/groups/<group>", scope="admin")
def remove_group(path: GroupPath) -> Response:
    """Delete a group (admins only). Its members stay users; what was shared with it is private."""
    require_admin()
    with writing() as session:
        group, _ = find_group(session, path.group, lock=True)
        delete_group(session, group)
        record(session, "group.deleted", resource=("group", group.id), name=group.name)
    return no_content()


@groups.get("/groups/<group>/members", Listing[MemberReply])
def list_members(path: GroupPath, query: Page) -> Response:
    """List the members and teachers of a group, newest users first, and what they use.

    For admins and for teachers of the group.
    """
    with reading() as session:
        group = require_manager(session, path.group, change=False)
        statement = (
            select(Membership, User)
            .join(User, Membership.user_id == User.id)
            .where(Membership.group_id == group.id)
        )
        rows, next_cursor = read_page(session, statement, MEMBERS, query)
        return page_response(_member_replies(session, rows), next_cursor)


@groups.post("/groups/<group>/members", 201, MemberReply, scope="manage")
@creates
def join_group(path: GroupPath, header: IdempotencyHeader, body: NewMember) -> Response:
    """Add a user to a group.

    An admin adds anybody. A teacher of the group makes new users (`create`), as many as the server
    allows, and adds users whom they manage already. A user whom a teacher made can start nothing
    once all groups that the user is in have ended.
    """
    return create_once(header, body, lambda session: _join(session, path.group, body)).response()


@groups.patch("/groups/<group>/members/<user>", MemberReply, scope="admin")
def change_member(path: MemberPath, body: MemberUpdate) -> Response:
    """Make a member a teacher of the group, or a teacher a member (admins only)."""
    require_admin()
    with writing() as session:
        group, _ = find_group(session, path.group, lock=True)
        membership, user = find_member(session, group, path.user)
        before, membership.role = membership.role, body.role
        if before != body.role:
            _record_member(session, "group.role_changed", group, user, body.role)
        session.flush()
        return json_response(_member_reply(session, membership, user))


@groups.delete("/groups/<group>/members/<user>")
def leave_group(path: MemberPath) -> Response:
    """Remove a user from a group. What the user has shared with it becomes private.

    A teacher may remove the members of the group and not its teachers. Members can't leave: the
    group's caps bind them.
    """
    with writing() as session:
        group = require_manager(session, path.group, lock=True)
        membership, user = find_member(session, group, path.user)
        if membership.role == "teacher" and not current_user().is_admin:
            raise Forbidden(f"only an admin may remove {user.name!r}, a teacher of the group")
        remove_member(session, membership)
        _record_member(session, "group.member_removed", group, user, membership.role)
    return no_content()


def _create_group(session: Session, body: NewGroup) -> Creation:
    if body.ends_at is not None and body.ends_at <= database_now(session.connection()):
        raise Invalid("ends_at", body.ends_at.isoformat(), "must be in the future")
    caps = body.model_dump(exclude={"name", "ends_at"})
    group = create_group(session, body.name, body.ends_at, caps)
    record(session, "group.created", resource=("group", group.id), name=group.name)
    return Creation(_group_reply(session, group, None), 201, f"/v1/groups/{group.id}")


def _join(session: Session, reference: str, body: NewMember) -> Creation:
    if body.create:
        hold_back_users_made(session)
    group = require_manager(session, reference, lock=True)
    user = add_member(session, group, body)
    _record_member(session, "group.member_added", group, user, body.role)
    membership = session.get_one(Membership, (group.id, user.id))
    return Creation(_member_reply(session, membership, user), 201)


def _record_member(
    session: Session, action: Action, group: Group, user: User, role: GroupRole
) -> None:
    resource = ("group", group.id)
    record(session, action, user=user.name, resource=resource, name=group.name, role=role)


def _group_replies(session: Session, rows: Sequence[Any]) -> list[GroupReply]:
    now = database_now(session.connection())
    counts = member_counts(session, [group.id for group, _ in rows])
    return [
        GroupReply(
            id=group.id,
            name=group.name,
            ends_at=group.ends_at,
            ended=group.ends_at is not None and group.ends_at <= now,
            role=role,
            members=counts.get(group.id, 0),
            max_running=group.max_running,
            max_queued=group.max_queued,
            max_device_seconds_per_day=group.max_device_seconds_per_day,
            max_stored_bytes=group.max_stored_bytes,
            member_max_running=group.member_max_running,
            member_max_queued=group.member_max_queued,
            member_max_device_seconds_per_day=group.member_max_device_seconds_per_day,
            member_max_stored_bytes=group.member_max_stored_bytes,
            member_max_corpora_bytes=group.member_max_corpora_bytes,
            created_at=group.created_at,
        )
        for group, role in rows
    ]


def _group_reply(session: Session, group: Group, role: GroupRole | None) -> GroupReply:
    return _group_replies(session, [(group, role)])[0]


def _member_replies(session: Session, rows: Sequence[Any]) -> list[MemberReply]:
    connection = session.connection()
    now = database_now(connection)
    running = running_trainings(connection, now)
    held = held_today(connection, running)
    uses = uses_of(connection, [user for _, user in rows], running, held, now)
    return [
        MemberReply(
            id=user.id,
            name=user.name,
            role=membership.role,
            disabled_at=user.disabled_at,
            joined_at=membership.created_at,
            use=GroupUseReply(
                running=uses[user.id].running,
                queued=uses[user.id].queued,
                device_seconds_today=round(uses[user.id].device_seconds_today, 3),
                stored_bytes=uses[user.id].stored_bytes,
            ),
        )
        for membership, user in rows
    ]


def _member_reply(session: Session, membership: Membership, user: User) -> MemberReply:
    return _member_replies(session, [(membership, user)])[0]
