"""Store an uploaded text as a corpus."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request
from sqlalchemy.orm import Session

from api.errors import TooManyUploads
from api.http.idempotency import Creation, Result, find_result
from api.http.uploads import Upload
from api.operations.audit import record_visibility
from api.operations.library.corpus_storage import create_with_text, insert_corpus
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader
from api.serializers.models import corpus_replies
from api.services import services
from shared.free_disk import check_free_disk

#: What an upload takes of the API's memory while it is decoded and stored, per byte.
MEMORY_PER_BYTE = 4
MAX_BYTES = 2**31


@contextmanager
def room_for_upload() -> Iterator[None]:
    """Hold the memory that the upload of this request takes.

    Raises:
        shared.free_disk.DiskLow: The disk has too little room.
        TooManyUploads: The memory for uploads is taken.
    """
    check_free_disk(services().engine, services().settings)
    # Bytes of an unknown number may be as many as allowed.
    size = min(request.content_length or MAX_BYTES, services().settings.max_corpus_bytes)
    with services().upload_memory.hold(MEMORY_PER_BYTE * size) as fits:
        if not fits:
            raise TooManyUploads
        yield


def create_corpus(header: IdempotencyHeader, upload: Upload) -> Result:
    """Store a text as a corpus of the current user, unless this key has created it already.

    Raises:
        shared.scheduling.errors.CapReached: The user's corpora would be too many or too large.
        KeyReused: The key came with a different request before.
        Conflict: Other requests keep deleting the same bytes.
    """
    content = _content(upload)
    return find_result(header, content) or create_with_text(
        header, content, upload.text, lambda session: _insert(session, upload)
    )


def _content(upload: Upload) -> bytes:
    fields = f"{upload.name}\n{upload.visibility}\n{upload.text.encoding}\n"
    if upload.items is not None:
        fields += f"{upload.items.shape}\n"
    return fields.encode() + hashlib.sha256(upload.text.data).digest()


def _insert(session: Session, upload: Upload) -> Creation:
    corpus = insert_corpus(session, upload.name, upload.visibility, upload.text, upload.items)
    record_visibility(session, corpus)
    [reply] = corpus_replies(session, [(corpus, current_user().name)])
    return Creation(reply, 201, f"/v1/corpora/{corpus.id}")
