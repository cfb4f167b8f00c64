"""``GET /v1/storage``: what is stored, and how much disk is left."""

from flask import Response

from api.http.openapi import Resource
from api.http.responses import json_response
from api.operations.figures.storage import measure_storage
from api.permissions import require_admin
from api.schemas.server import StorageReply
from api.services import reading, services

storage = Resource("storage", "What is stored, and how much disk is left")


@storage.get("/storage", StorageReply, scope="admin")
def read_storage() -> Response:
    """Read what is stored on the server, and how much of its disk is free (admins only)."""
    require_admin()
    with reading() as session:
        found = measure_storage(session.connection())
    return json_response(
        StorageReply(
            corpora_bytes=found.corpora,
            checkpoints_bytes=found.checkpoints,
            blobs_bytes=found.blobs,
            database_bytes=found.database,
            disk_bytes=found.disk,
            disk_free_bytes=found.disk_free,
            min_free_bytes=services().settings.min_free_bytes,
        )
    )
