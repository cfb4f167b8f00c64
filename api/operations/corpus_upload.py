"""Store an uploaded text as a corpus."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from flask import request
from sqlalchemy.orm import Session

from api.errors import Conflict, TooManyUploads
from api.http.idempotency import Creation, Result, create_once, find_result
from api.http.uploads import Upload
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader
from api.serializers.models import corpus_reply
from api.services import reading, services
from shared import blobs
from shared.clock import database_now
from shared.free_disk import check_free_disk
from shared.scheduling import caps
from shared.tables import Corpus
from shared.texts.corpus_text import CorpusText

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
        shared.scheduling.errors.CapReached: The user has reached a cap.
        KeyReused: The key came with a different request before.
    """
    data = upload.text.data
    content = _content(upload, data)
    if (earlier := find_result(header, content)) is not None:
        return earlier
    # Checked before a byte is stored, and again in the transaction that inserts the row.
    with reading() as session:
        caps.check_corpus(session.connection(), services().settings, current_user().id, len(data))
    for _ in range(blobs.ATTEMPTS):
        try:
            with blobs.stored(services().engine, data):
                return create_once(header, content, lambda session: _insert(session, upload, data))
        except blobs.MissingBlob:
            # Another request has dropped the same bytes before the row came.
            continue
    raise Conflict("other requests keep deleting the same text. Try again")


def parts_of(text: CorpusText) -> list[dict[str, Any]]:
    """Return the files of a text of several; empty for one."""
    return [asdict(part) for part in text.parts] if len(text.parts) > 1 else []


def _content(upload: Upload, data: bytes) -> bytes:
    fields = f"{upload.name}\n{upload.visibility}\n{upload.text.encoding}\n"
    return fields.encode() + hashlib.sha256(data).digest()


def _insert(session: Session, upload: Upload, data: bytes) -> Creation:
    text = upload.text
    sha256 = hashlib.sha256(data).hexdigest()
    connection = session.connection()
    blobs.publish(connection, sha256)
    caps.check_corpus(connection, services().settings, current_user().id, len(data))
    corpus = Corpus(
        user_id=current_user().id,
        name=upload.name,
        visibility=upload.visibility,
        sha256=sha256,
        encoding=text.encoding,
        bytes=len(data),
        characters=text.characters,
        alphabet=text.alphabet,
        alphabet_lowercase=text.alphabet_lowercase,
        distinct_characters=len(text.alphabet),
        normal_form=text.normal_form,
        findings=[finding.as_dict() for finding in text.findings],
        parts=parts_of(text),
        created_at=database_now(connection),
    )
    session.add(corpus)
    session.flush()
    return Creation(corpus_reply(corpus, current_user().name), 201, f"/v1/corpora/{corpus.id}")
