"""Corpora: upload, list, read, rename, share, delete."""

import hashlib
from typing import get_args

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.openapi import Resource, reads_body_itself, returns_non_json
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import file_response, json_response, no_content, page_response
from api.http.uploads import Upload, read_upload
from api.operations.audit import check_sharing, record, record_visibility
from api.operations.library.corpus_storage import parts
from api.operations.library.corpus_upload import create_corpus, room_for_upload
from api.operations.library.deletion import remove_corpus, restore_corpus
from api.operations.library.sharing import update_resource
from api.permissions import (
    current_user,
    has_visibility,
    may_see,
    own,
    own_deleted,
    visibility_of,
    visible,
)
from api.schemas.headers import IdempotencyHeader
from api.schemas.models import CorpusReply, DryRunReply, FindingReply, ItemsReply, PartReply
from api.schemas.params import DeletionQuery, IdPath, NamedPage, UploadQuery
from api.schemas.replies import Listing
from api.schemas.requests import CorpusUpdate, UploadJson
from api.serializers.models import corpus_replies
from api.services import reading, services, writing
from shared import blobs
from shared.tables import Corpus, User
from shared.texts.encodings import ENCODINGS
from shared.texts.items import ItemsShape, without_marks

corpora = Resource("corpora", "Texts to train on")

#: What a dry run shows of a text, and of its distinct characters.
EXCERPT_CHARACTERS = 400
ALPHABET_CHARACTERS = 200

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
    with room_for_upload():
        upload = read_upload(query)
        check_sharing(upload.visibility)
        if query.dry_run:
            return json_response(_dry_run(upload))
        return create_corpus(header, upload).response()


@corpora.get("/corpora", Listing[CorpusReply])
def list_corpora(query: NamedPage) -> Response:
    """List the corpora that you may see, newest first; or yours that were deleted."""
    listed = own_deleted(Corpus) if query.deleted else may_see(Corpus, current_user())
    statement = select(Corpus, User.name).join(User, Corpus.user_id == User.id).where(listed)
    if query.name is not None:
        statement = statement.where(Corpus.name == query.name)
    if query.visibility is not None:
        statement = statement.where(has_visibility(Corpus, query.visibility))
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
        return page_response(corpus_replies(session, rows), next_cursor)


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

    Everyone on the server, or in the group that it is shared with, may read a shared corpus as a
    whole. `allow_excerpts` lets models that
    are shared while their corpus is private start from random pieces of it.
    """
    with writing() as session:
        corpus = own(session, Corpus, path.id)
        visibility, excerpts = visibility_of(corpus), corpus.allow_excerpts
        update_resource(session, corpus, body)
        record_visibility(session, corpus, visibility)
        if corpus.allow_excerpts != excerpts:
            record(
                session,
                "corpus.excerpts_changed",
                user=current_user().name,
                resource=("corpus", corpus.id),
                allowed=corpus.allow_excerpts,
            )
        return json_response(_reply(session, corpus))


@corpora.delete("/corpora/<id>")
def delete_corpus(path: IdPath, query: DeletionQuery) -> Response:
    """Delete a corpus. It is refused with 409 while a model or an unfinished job needs it.

    You can restore it for some days (`purge_at` of `GET /v1/corpora?deleted=true`); until then it
    counts towards your caps, and is missing to everybody, you included. `purge=true` deletes it for
    good, which is refused while a deleted model that needs it can be restored.
    """
    remove_corpus(path.id, purge=query.purge)
    return no_content()


@corpora.post("/corpora/<id>/restore", 200, CorpusReply, scope="manage")
def restore(path: IdPath) -> Response:
    """Have a deleted corpus back, and with whom it was shared.

    Names need not be unique, so one that was given again meanwhile is in nobody's way. A corpus
    that is not deleted stays as it is.
    """
    with writing() as session:
        return json_response(_reply(session, restore_corpus(session, path.id)))


def _dry_run(upload: Upload) -> DryRunReply:
    text = upload.text
    beginning = without_marks(text.data[: 4 * EXCERPT_CHARACTERS].decode(errors="ignore"))
    return DryRunReply(
        name=upload.name,
        excerpt=beginning[:EXCERPT_CHARACTERS],
        alphabet=without_marks(text.alphabet, "")[:ALPHABET_CHARACTERS],
        sha256=hashlib.sha256(text.data).hexdigest(),
        bytes=len(text.data),
        characters=text.characters,
        distinct_characters=len(text.alphabet),
        encoding=text.encoding,
        findings=[FindingReply(**finding.as_dict()) for finding in text.findings],
        parts=[PartReply(**part) for part in parts(text)],
        items=None if upload.items is None else ItemsReply(**upload.items.as_dict()),
    )


def _reply(session: Session, corpus: Corpus) -> CorpusReply:
    owner = session.get_one(User, corpus.user_id).name
    return corpus_replies(session, [(corpus, owner)])[0]
