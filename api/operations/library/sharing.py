"""Rename and share a corpus or a model."""

from sqlalchemy.orm import Session

from api.operations.people.groups import find_group_to_share_with
from api.schemas.requests import ResourceUpdate
from shared.tables import Corpus, Model


def update_resource(session: Session, row: Corpus | Model, body: ResourceUpdate) -> None:
    """Apply the given fields to a row of the current user.

    Raises:
        Invalid: The user is not in the group to share it with, or the group has ended.
    """
    for field in body.model_fields_set - {"visibility", "group"}:
        setattr(row, field, getattr(body, field))
    if "visibility" in body.model_fields_set:
        with_group = body.visibility == "group"
        # First the group is looked up: it fails without a change.
        row.group_id = find_group_to_share_with(session, body.group).id if with_group else None
        row.visibility = "private" if with_group else body.visibility
    session.flush()
