"""Record in the audit what a request does."""

from typing import Any

from flask import request
from sqlalchemy.orm import Session

from api.permissions import current_user, require_scope, visibility_of
from shared import audit
from shared.tables import Corpus, Model


def address() -> str | None:
    """Return from where this request came. A proxy that is trusted may say anything."""
    found = request.remote_addr
    return None if found is None else found[: audit.ADDRESS_CHARACTERS]


def origin() -> audit.Origin:
    """Return who sent this request, with which key and from where."""
    user = current_user()
    return audit.Origin(user.name, address(), user.key_prefix)


def record(
    session: Session,
    action: audit.Action,
    *,
    user: str | None = None,
    resource: tuple[str, str] | None = None,
    **details: Any,
) -> None:
    """Record what this request does. The arguments are those of `shared.audit.record`."""
    audit.record(session, action, origin(), user=user, resource=resource, **details)


def check_sharing(visibility: str) -> None:
    """Check that the key may be used to make something that others see.

    Raises:
        MissingScope: The key lacks the scope `manage`.
    """
    if visibility != "private":
        require_scope("manage", current_user())


def record_visibility(session: Session, row: Corpus | Model, before: str = "private") -> None:
    """Record that the current user made a corpus or model visible to more or fewer people.

    Args:
        session: The session that changes it.
        row: The row, with its new visibility.
        before: The visibility before.
    """
    after = visibility_of(row)
    if after == before:
        return
    kind, action = _VISIBILITY_CHANGED[type(row)]
    record(
        session,
        action,
        user=current_user().name,
        resource=(kind, row.id),
        before=before,
        after=after,
    )


_VISIBILITY_CHANGED: dict[type, tuple[str, audit.Action]] = {
    Corpus: ("corpus", "corpus.visibility_changed"),
    Model: ("model", "model.visibility_changed"),
}
