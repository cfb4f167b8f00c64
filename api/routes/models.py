"""Models: list, read, rename, share, delete; and their checkpoints."""

from flask import Response
from sqlalchemy import select

from api.errors import NotFound
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import json_response, no_content, page_response
from api.operations.audit import record_visibility
from api.operations.library.deletion import remove_model, restore_model
from api.operations.library.lineage import of_checkpoint
from api.operations.library.sharing import update_resource
from api.permissions import (
    as_id,
    current_user,
    has_visibility,
    may_see,
    own,
    own_deleted,
    visibility_of,
    visible,
)
from api.schemas.models import CheckpointReply, ModelReply
from api.schemas.params import CheckpointPath, DeletionQuery, IdPath, NamedPage, Page
from api.schemas.replies import Listing
from api.schemas.requests import ResourceUpdate
from api.serializers.models import checkpoint_reply, model_replies, model_reply
from api.services import reading, writing
from shared.checkpoint_aliases import resolve
from shared.tables import Checkpoint, Model

models = Resource("models", "Trained networks")

NEWEST = SortOrder("models", (Model.id,))
CHECKPOINTS = SortOrder("checkpoints", (Checkpoint.id,))
ALIASES = ("best", "latest")


@models.get("/models", Listing[ModelReply])
def list_models(query: NamedPage) -> Response:
    """List the models that you may see, newest first; or yours that were deleted."""
    listed = own_deleted(Model) if query.deleted else may_see(Model, current_user())
    statement = select(Model).where(listed)
    if query.name is not None:
        statement = statement.where(Model.name == query.name)
    if query.visibility is not None:
        statement = statement.where(has_visibility(Model, query.visibility))
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
        return page_response(model_replies(session, [row.Model for row in rows]), next_cursor)


@models.get("/models/<id>", ModelReply)
def read_model(path: IdPath) -> Response:
    """Read one model."""
    with reading() as session:
        return json_response(model_reply(session, visible(session, Model, path.id)))


@models.patch("/models/<id>", ModelReply)
def change_model(path: IdPath, body: ResourceUpdate) -> Response:
    """Rename a model, share it, or stop sharing it.

    Everyone on the server, or in the group that it is shared with, may generate from a shared
    model, score texts with it, and download its checkpoints. A model remembers pieces of its
    corpus, so its texts can give away passages of a private one. Who can no longer see it, because
    a group has ended or they have left it, can't use it any more; a job that is queued still runs.
    """
    with writing() as session:
        model = own(session, Model, path.id)
        before = visibility_of(model)
        update_resource(session, model, body)
        record_visibility(session, model, before)
        return json_response(model_reply(session, model))


@models.delete("/models/<id>")
def delete_model(path: IdPath, query: DeletionQuery) -> Response:
    """Delete a model and its checkpoints. Your texts stay.

    You can restore it for some days (`purge_at` of `GET /v1/models?deleted=true`); until then it
    counts towards your caps, and is missing to everybody, you included. `purge=true` deletes it for
    good. It is refused with 409 while an unfinished job needs it, or if other users have texts
    of it.
    """
    remove_model(path.id, purge=query.purge)
    return no_content()


@models.post("/models/<id>/restore", 200, ModelReply, scope="manage")
def restore(path: IdPath) -> Response:
    """Have a deleted model back, with its checkpoints, its texts and with whom it was shared.

    Your corpus that it was trained on comes back with it. Names need not be unique, so one that was
    given again meanwhile is in nobody's way. A model that is not deleted stays as it is.
    """
    with writing() as session:
        return json_response(model_reply(session, restore_model(session, path.id)))


@models.get("/models/<id>/checkpoints", Listing[CheckpointReply])
def list_checkpoints(path: IdPath, query: Page) -> Response:
    """List the checkpoints of a model, newest first."""
    with reading() as session:
        model = visible(session, Model, path.id)
        statement = select(Checkpoint).where(Checkpoint.model_id == model.id)
        rows, next_cursor = read_page(session, statement, CHECKPOINTS, query)
    return page_response((checkpoint_reply(row[0], model) for row in rows), next_cursor)


@models.get("/models/<id>/checkpoints/<checkpoint>", CheckpointReply)
def read_checkpoint_of_model(path: CheckpointPath) -> Response:
    """Read the checkpoint that `best` or `latest` means now, or one by its id."""
    with reading() as session:
        model = visible(session, Model, path.id)
        is_alias = path.checkpoint in ALIASES
        reference = path.checkpoint if is_alias else as_id("checkpoint", path.checkpoint)
        checkpoint_id = resolve(session.connection(), model.id, reference)
        if checkpoint_id is None:
            raise NotFound("checkpoint", path.checkpoint)
        checkpoint = session.get_one(Checkpoint, checkpoint_id)
        lineage = of_checkpoint(session, checkpoint, model)
        return json_response(
            checkpoint_reply(checkpoint, model).model_copy(update={"lineage": lineage})
        )
