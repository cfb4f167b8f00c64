"""Models as files: export one, and import it on another server."""

from flask import Response

from api.http.openapi import Resource, reads_body_itself, returns_non_json
from api.http.rate_limits import creates
from api.http.responses import file_response
from api.operations.library.model_export import export_model
from api.operations.library.model_import import OCTETS, import_model
from api.schemas.headers import IdempotencyHeader
from api.schemas.models import ModelReply
from api.schemas.params import ExportQuery, IdPath, ImportQuery

model_files = Resource("model_files", "Models as files, to take home and bring back")

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"description": "The safetensors file", "content": {OCTETS: _BINARY}}
_BODY = {"required": True, "content": {OCTETS: _BINARY}}


@model_files.get("/models/<id>/export", _FILE)
@returns_non_json
def export(path: IdPath, query: ExportQuery) -> Response:
    """Export a model as one file, for another server or for a page of NumPy.

    The file is that of a checkpoint (`GET /v1/checkpoints/{id}/download`) with one more entry of
    metadata, `quire.model`: the model's name, its training's preset and numbers, and its lineage.
    """
    file = export_model(path.id, query)
    return file_response(file.chunks, file.size_bytes, OCTETS, file.name)


@model_files.post("/models/import", 201, ModelReply, request_body=_BODY)
@reads_body_itself
@creates
def import_file(header: IdempotencyHeader, query: ImportQuery) -> Response:
    """Import a model that was exported, from this server or another one.

    The body is the file. Every number of it is checked; what is wrong is refused with 422, and the
    `code` of the error says what it is. The model is new, with one checkpoint, no corpus and no
    training; `origin` says where it comes from. It can generate, score, and be trained on.
    """
    return import_model(header, query).response()
