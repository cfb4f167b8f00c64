"""``GET /v1/audit``: who did what, when and from where."""

from flask import Response
from sqlalchemy import or_, select

from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import page_response
from api.permissions import require_admin
from api.schemas.params import AuditPage
from api.schemas.replies import Listing
from api.schemas.server import AuditEventReply, AuditResource
from api.services import reading, services
from shared.tables import AuditEvent

audit = Resource("audit", "Who did what, when and from where")

EVENTS = SortOrder("audit", (AuditEvent.id,))


@audit.get("/audit", Listing[AuditEventReply], scope="admin")
def list_audit_events(query: AuditPage) -> Response:
    """List what was done, newest first (admins only).

    Refused sign-ins are counted: one event for each address and minute. An event names users, and
    the kind and id of what it was done to; private names are not recorded.
    """
    require_admin()
    # What this process has counted and not written yet.
    services().refusals.write_sign_ins()
    statement = select(AuditEvent)
    if query.action is not None:
        statement = statement.where(AuditEvent.action == query.action)
    if query.user is not None:
        statement = statement.where(
            or_(AuditEvent.actor == query.user, AuditEvent.user == query.user)
        )
    for column, value in (
        (AuditEvent.address, query.address),
        (AuditEvent.key_prefix, query.key_prefix),
    ):
        statement = statement if value is None else statement.where(column == value)
    if query.since is not None:
        statement = statement.where(AuditEvent.at >= query.since)
    with reading() as session:
        rows, next_cursor = read_page(session, statement, EVENTS, query)
    return page_response((_reply(row.AuditEvent) for row in rows), next_cursor)


def _reply(event: AuditEvent) -> AuditEventReply:
    resource = None
    if event.resource_kind is not None and event.resource_id is not None:
        resource = AuditResource(kind=event.resource_kind, id=event.resource_id)
    return AuditEventReply(
        id=event.id,
        at=event.at,
        action=event.action,
        actor=event.actor,
        key_prefix=event.key_prefix,
        address=event.address,
        user=event.user,
        resource=resource,
        details=event.details,
        count=event.count,
    )
