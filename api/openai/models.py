"""``/openai/v1/models``: list, read and delete models."""

from flask import Response
from pydantic import Field

from api.errors import Invalid
from api.http.openapi import returns_non_json
from api.http.responses import raw_json_response
from api.openai.model_ids import NamedModel, find_model, list_models
from api.openai.replies import Deleted, ModelList, ModelObject
from api.openai.resource import OpenAiResource
from api.operations.library.deletion import remove_model
from api.schemas.fields import RequestPart
from api.services import reading

models = OpenAiResource("openai_models", "Trained networks")


class ModelPath(RequestPart):
    """The id of a model, or of one of its checkpoints."""

    id: str = Field(description="`name`, `owner/name` or an id; with `@best`, `@latest` or `@step`")


@models.get("/models", ModelList)
@returns_non_json
def list_all_models() -> Response:
    """List the models that you may see, newest first, on one page."""
    with reading() as session:
        found = [_object(model) for model in list_models(session)]
    return raw_json_response(ModelList(data=found).model_dump(), 200)


@models.get("/models/<path:id>", ModelObject)
@returns_non_json
def read_one_model(path: ModelPath) -> Response:
    """Read one model, or one of its checkpoints."""
    with reading() as session:
        return raw_json_response(_object(find_model(session, path.id)).model_dump(), 200)


@models.remove("/models/<path:id>", Deleted)
@returns_non_json
def delete_one_model(path: ModelPath) -> Response:
    """Delete a model with its checkpoints. Your texts stay."""
    with reading() as session:
        found = find_model(session, path.id)
    if found.checkpoint is not None:
        raise Invalid(
            "model",
            path.id,
            f"names a checkpoint, and checkpoints go with their model. Delete {_plain(path.id)!r}",
        )
    remove_model(found.model.id)
    return raw_json_response(Deleted(id=path.id, object="model").model_dump(), 200)


def _plain(id: str) -> str:
    return id.rpartition("@")[0]


def _object(model: NamedModel) -> ModelObject:
    return ModelObject(id=model.id, created=model.created_at, owned_by=model.owner)
