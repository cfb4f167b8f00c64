"""Corpora: upload, list, read, rename, share, delete."""

import hashlib
from dataclasses import asdict
from typing import Any, get_args

from flask import Response, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Conflict, TooManyUploads
from api.http.idempotency import Creation, create_once, find_result
from api.http.openapi import Resource, reads_body_itself, returns_non_json
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import file_response, json_response, no_content, page_response
from api.http.uploads import Upload, read_upload
from api.operations.dependents import refuse_if_corpus_in_use
from api.permissions import current_user, may_see, own, visible
from api.schemas.headers import IdempotencyHeader
from api.schemas.models import CorpusReply, DryRunReply, FindingReply, ItemsReply, PartReply
from api.schemas.params import IdPath, NamedPage, UploadQuery
from api.schemas.replies import Listing
from api.schemas.requests import CorpusUpdate, UploadJson
from api.serializers.models import corpus_reply
from api.services import reading, services, writing
from shared import blobs
from shared.clock import database_now
from shared.free_disk import check_free_disk
from shared.scheduling import caps
from shared.tables import Corpus, User
from shared.texts.corpus_text import CorpusText
from shared.texts.encodings import ENCODINGS
from shared.texts.items import ItemsShape

corpora = Resource("corpora", "Texts to train on")

#: What an upload takes of the API's memory while it is decoded and stored, per byte.
MEMORY_PER_BYTE = 4
MAX_BYTES = 2**31

NEWEST = SortOrder("corpora", (Corpus.id,))
_FIELDS = {
    "name": {"type": "string"},
    "encoding": {"type": "string", "enum": list(ENCODINGS)},
    "on_invalid": {"type": "string", "enum": ["refuse", "replace", "drop"], "default": "refuse"},
    "normalize": {"type": "string", "enum": ["nfc", "nfd"]},
    "items": {"type": "string", "enum": list(get_args(ItemsShape))},
    "separator": {"type": "string"},
    "column": {"type": "string"},
    "visibility": {"type": "string", "enum": ["private", "server"], "default": "private"},
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": UploadJson.model_json_schema()},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "may come several times; the texts are put together in "
                        "this order",
                    },
                    **_FIELDS,
                },
            }
        },
        "text/plain": _BYTES,
        "application/octet-stream": _BYTES,
    },
}
_TEXT = {
    "description": "The normalised text",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


@corpora.post("/corpora", 201, CorpusReply, request_body=_BODY, other_responses={200: DryRunReply})
@reads_body_itself
@creates
def upload_corpus(header: IdempotencyHeader, query: UploadQuery) -> Response:
    """Upload a text.

    Send a form with one file or several, raw bytes with the fields in the query, or JSON. UTF-16
    and UTF-32 are read by their byte order mark; gzip and zip files of texts are opened. U+FEFF is
    removed and line ends become LF. Bytes that are invalid in their encoding are refused, with the
    likeliest encodings. `findings` say what was seen in the text. A list is uploaded with `items`.
    """
    check_free_disk(services().engine, services().settings)
    # Bytes of an unknown number may be as many as allowed.
    size = min(request.content_length or MAX_BYTES, services().settings.max_corpus_bytes)
    with services().upload_memory.hold(MEMORY_PER_BYTE * size) as fits:
        if not fits:
            raise TooManyUploads
        return _receive(header, query)


def _receive(header: IdempotencyHeader, query: UploadQuery) -> Response:
    upload = read_upload(query)
    data = upload.text.data
    if query.dry_run:
        return json_response(_dry_run(upload))
    content = _content(upload, data)
    if (earlier := find_result(header, content)) is not None:
        return earlier.response()
    # Checked before a byte is stored, and again in the transaction that inserts the row.
    with reading() as session:
        caps.check_corpus(session.connection(), services().settings, current_user().id, len(data))
    for _ in range(blobs.ATTEMPTS):
        try:
            with blobs.stored(services().engine, data):
                return create_once(
                    header, content, lambda session: _insert(session, upload, data)
                ).response()
        except blobs.MissingBlob:
            # Another request has dropped the same bytes before the row came.
            continue
    raise Conflict("other requests keep deleting the same text. Try again")


@corpora.get("/corpora", Listing[CorpusReply])
def list_corpora(query: NamedPage) -> Response:
    """List the corpora that you may see, newest first."""
    statement = (
        select(Corpus, User.name)
        .join(User, Corpus.user_id == User.id)
        .where(may_see(Corpus, current_user()))
    )
    for column, value in ((Corpus.name, query.name), (Corpus.visibility, query.visibility)):
        statement = statement if value is None else statement.where(column == value)
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
    return page_response((corpus_reply(*row) for row in rows), next_cursor)


@corpora.get("/corpora/<id>", CorpusReply)
def read_corpus(path: IdPath) -> Response:
    """Read one corpus."""
    with reading() as session:
        return json_response(_reply(session, visible(session, Corpus, path.id)))


@corpora.get("/corpora/<id>/text", _TEXT)
@returns_non_json
def read_corpus_text(path: IdPath) -> Response:
    """Read the text of a corpus as training reads it: UTF-8, without U+FEFF, with LF line ends."""
    with reading() as session:
        corpus = visible(session, Corpus, path.id)
    chunks = blobs.chunks(services().engine, corpus.sha256)
    return file_response(chunks, corpus.bytes, "text/plain; charset=utf-8", None)


@corpora.patch("/corpora/<id>", CorpusReply)
def change_corpus(path: IdPath, body: CorpusUpdate) -> Response:
    """Rename a corpus, share it, or stop sharing it.

    Everyone on the server may read a shared corpus as a whole. `allow_excerpts` lets models that
    are shared while their corpus is private start from random pieces of it.
    """
    with writing() as session:
        corpus = own(session, Corpus, path.id)
        body.apply(corpus)
        return json_response(_reply(session, corpus))


@corpora.delete("/corpora/<id>")
def delete_corpus(path: IdPath) -> Response:
    """Delete a corpus. It is refused with 409 while a model or an unfinished job needs it."""
    with writing() as session:
        corpus = own(session, Corpus, path.id)
        refuse_if_corpus_in_use(session, corpus)
        session.delete(corpus)
    blobs.drop(services().engine, [blobs.Leftover(corpus.sha256, corpus.created_at)])
    return no_content()


def _content(upload: Upload, data: bytes) -> bytes:
    shape = "" if upload.items is None else upload.items.shape
    fields = f"{upload.name}\n{upload.visibility}\n{upload.text.encoding}\n{shape}\n"
    return fields.encode() + hashlib.sha256(data).digest()


def _dry_run(upload: Upload) -> DryRunReply:
    text = upload.text
    return DryRunReply(
        name=upload.name,
        sha256=hashlib.sha256(text.data).hexdigest(),
        bytes=len(text.data),
        characters=text.characters,
        distinct_characters=len(text.alphabet),
        encoding=text.encoding,
        findings=[FindingReply(**finding.as_dict()) for finding in text.findings],
        parts=[PartReply(**part) for part in _parts(text)],
        items=None if upload.items is None else ItemsReply(**upload.items.as_dict()),
    )


def _parts(text: CorpusText) -> list[dict[str, Any]]:
    """The files of a text of several."""
    return [asdict(part) for part in text.parts] if len(text.parts) > 1 else []


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
        parts=_parts(text),
        items=None if upload.items is None else upload.items.as_dict(),
        created_at=database_now(connection),
    )
    session.add(corpus)
    session.flush()
    return Creation(corpus_reply(corpus, current_user().name), 201, f"/v1/corpora/{corpus.id}")


def _reply(session: Session, corpus: Corpus) -> CorpusReply:
    return corpus_reply(corpus, session.get_one(User, corpus.user_id).name)
