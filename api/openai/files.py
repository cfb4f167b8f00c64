"""``/openai/v1/files``: texts to train on. A file is a corpus, under the corpus's id."""

import json
from codecs import BOM_UTF8
from typing import Any, Literal

from flask import Response, request
from pydantic import Field
from sqlalchemy import select
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import Invalid, UnsupportedMedia
from api.http.openapi import reads_body_itself, returns_non_json
from api.http.rate_limits import creates
from api.http.responses import file_response, raw_json_response
from api.http.uploads import (
    ENVELOPE_BYTES,
    FORM_TYPE,
    MAX_FIELD_BYTES,
    Upload,
    file_name,
    too_large,
)
from api.http.validation_errors import check_characters
from api.openai.lists import ListQuery, Page, page_of, read_rows
from api.openai.replies import Deleted
from api.openai.resource import OpenAiResource
from api.operations.library.corpus_upload import create_corpus, room_for_upload
from api.operations.library.deletion import remove_corpus
from api.permissions import current_user, may_see, visible
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import IdPath
from api.schemas.replies import Reply
from api.services import reading, services
from shared import blobs
from shared.tables import Corpus
from shared.texts.corpus_text import CorpusText
from shared.texts.decoding import Options, decode_files, normalise

files = OpenAiResource("openai_files", "Texts to train on")

PURPOSE = "fine-tune"
#: On one page.
MAX_FILES = 10_000
#: Between two items, where no text of them has it.
SEPARATOR = "\n\n"
#: A longer first line is looked at no further.
MOST_OF_FIRST_LINE = 1024 * 1024
JSONL_SUFFIXES = (".jsonl", ".ndjson")


class FileObject(Reply):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: None = None
    filename: str
    purpose: Literal["fine-tune"] = "fine-tune"
    status: Literal["processed"] = "processed"
    status_details: None = None


class FilesQuery(ListQuery):
    """Which files are listed."""

    limit: int = Field(MAX_FILES, ge=1, le=MAX_FILES)
    purpose: str | None = Field(None, max_length=100)


@files.post("/files", 200, FileObject)
@reads_body_itself
@returns_non_json
@creates
def upload_file(header: IdempotencyHeader) -> Response:
    """Upload a text, or JSONL of texts."""
    with room_for_upload():
        created = create_corpus(header, _read())
    with reading() as session:
        return _response(visible(session, Corpus, created.body["id"]))


@files.get("/files", Page[FileObject])
@returns_non_json
def list_files(query: FilesQuery) -> Response:
    """List the texts that you may train on, newest first."""
    statement = select(Corpus).where(may_see(Corpus, current_user()))
    with reading() as session:
        rows, has_more = read_rows(session, statement, Corpus.id, query)
        found = [] if query.purpose not in (None, PURPOSE) else [_object(row[0]) for row in rows]
    return page_of(found, has_more and bool(found))


@files.get("/files/<id>", FileObject)
@returns_non_json
def read_file(path: IdPath) -> Response:
    """Read one file's description."""
    with reading() as session:
        return _response(visible(session, Corpus, path.id))


@files.get("/files/<id>/content", FileObject)
@returns_non_json
def read_file_content(path: IdPath) -> Response:
    """Read a text as training reads it: UTF-8, with LF line ends; items of JSONL in order."""
    with reading() as session:
        corpus = visible(session, Corpus, path.id)
    chunks = blobs.chunks(services().engine, corpus.sha256)
    return file_response(chunks, corpus.bytes, "text/plain; charset=utf-8", None)


@files.remove("/files/<id>", Deleted)
@returns_non_json
def delete_file(path: IdPath) -> Response:
    """Delete a file. It is refused while a model or an unfinished job needs it."""
    remove_corpus(path.id)
    return raw_json_response(Deleted(id=path.id, object="file").model_dump(), 200)


def _response(corpus: Corpus) -> Response:
    return raw_json_response(_object(corpus).model_dump(), 200)


def _object(corpus: Corpus) -> FileObject:
    return FileObject(
        id=corpus.id,
        bytes=corpus.bytes,
        created_at=int(corpus.created_at.timestamp()),
        filename=corpus.name,
    )


def _read() -> Upload:
    """Read the form of this request."""
    if request.mimetype != FORM_TYPE:
        raise UnsupportedMedia(
            f"Content-Type: not supported for a file (got {request.mimetype or 'none'}). "
            f"Send {FORM_TYPE}"
        )
    limit = services().settings.max_corpus_bytes
    request.max_content_length = limit + ENVELOPE_BYTES
    request.max_form_memory_size = MAX_FIELD_BYTES
    try:
        sent, fields = request.files.getlist("file"), request.form.to_dict(flat=False)
    except RequestEntityTooLarge:
        raise too_large(limit) from None
    check_characters(fields, "")
    unknown = sorted({*fields, *request.files} - {"file", "purpose", "encoding"})
    if unknown:
        raise Invalid(unknown[0], None, "not supported: files stay until they are deleted")
    purpose = fields.get("purpose", [""])[0]
    if purpose != PURPOSE:
        raise Invalid("purpose", purpose, f"must be {PURPOSE}: files are texts to train on")
    if len(sent) != 1:
        raise Invalid("file", len(sent), "required once. POST /v1/corpora takes several files")
    name, data = file_name(sent[0]), sent[0].read()
    if len(data) > limit:
        raise too_large(limit)
    encoding = fields.get("encoding", [None])[0]
    return Upload(name, "private", _text(name, data, encoding, limit))


def _text(name: str, data: bytes, encoding: str | None, limit: int) -> CorpusText:
    if not _is_jsonl(name, data):
        options = Options(encoding=encoding, limit=limit)
        return decode_files([(name, data)], options)
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise Invalid("file", None, f"is not UTF-8 (at byte {error.start:,})") from None
    items = [_item(line, number) for number, line in enumerate(lines, 1) if line.strip()]
    return normalise(SEPARATOR.join(items))


def _is_jsonl(name: str, data: bytes) -> bool:
    """Whether a file is JSONL, by its name or, as clients send files without one, by its start."""
    if name.lower().endswith(JSONL_SUFFIXES):
        return True
    first = data.removeprefix(BOM_UTF8).lstrip()[:MOST_OF_FIRST_LINE].partition(b"\n")[0]
    try:
        item = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(item, dict) and bool(item.keys() & {"text", "messages"})


def _item(line: str, number: int) -> str:
    """Return the text of one line of JSONL."""
    try:
        item: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise Invalid("file", None, f'line {number} is not JSON. Write {{"text": …}}') from None
    if isinstance(item, dict) and "messages" in item:
        raise Invalid(
            "file",
            None,
            f"line {number} is a conversation, which these networks can't learn to answer. "
            'Write {"text": …}',
        )
    text = item.get("text") if isinstance(item, dict) else None
    if not isinstance(text, str) or len(item) > 1:
        raise Invalid("file", None, f'line {number} must be {{"text": …}} and nothing else')
    check_characters(text, "file")
    return text
