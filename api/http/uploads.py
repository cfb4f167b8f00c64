"""Read an uploaded text from raw bytes, a form or JSON."""

from dataclasses import dataclass
from pathlib import PurePath

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import Invalid, TooLarge, UnsupportedMedia
from api.http.openapi import JSON, read_json, validate
from api.schemas.params import UploadFields
from api.schemas.requests import UploadJson
from api.services import services
from shared.corpus_text import CorpusText, decode, normalise

RAW_TYPES = ("text/plain", "application/octet-stream")
FORM_TYPE = "multipart/form-data"
DEFAULT_NAME = "untitled"
DEFAULT_ENCODING = "utf-8"
#: Allowance for what a form or JSON adds to the text.
ENVELOPE_BYTES = 64 * 1024
#: The limit for a form's other fields. Below the parser's buffer size it would refuse the file too.
MAX_FIELD_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded text and its fields."""

    name: str
    visibility: str
    text: CorpusText


def read_upload(query: UploadFields) -> Upload:
    """Read the uploaded text of this request.

    Args:
        query: The query parameters; allowed for raw bytes only.

    Raises:
        UnsupportedMedia: The body has an unsupported media type.
        TooLarge: The text exceeds `QUIRE_MAX_CORPUS_BYTES`.
        Invalid: A field has an invalid value.
        ValueError: An error of `shared.corpus_text`, which says where the text is invalid.
    """
    readers = {FORM_TYPE: _read_form, JSON: _read_as_json, **dict.fromkeys(RAW_TYPES, _read_raw)}
    reader = readers.get(request.mimetype)
    if reader is None:
        raise UnsupportedMedia(
            f"Content-Type: not supported for a corpus (got {request.mimetype or 'none'}). "
            f"Send {', '.join(RAW_TYPES)}, {JSON} or {FORM_TYPE}",
            headers={"Accept-Post": ", ".join(readers)},
        )
    limit = services().settings.max_corpus_bytes
    envelope = 0 if request.mimetype in RAW_TYPES else ENVELOPE_BYTES
    request.max_content_length = limit + envelope
    request.max_form_memory_size = MAX_FIELD_BYTES
    if request.mimetype not in RAW_TYPES and query.model_fields_set:
        field = min(query.model_fields_set)
        raise Invalid(
            field, getattr(query, field), "not allowed in the query here. Put it in the body"
        )
    try:
        return reader(query)
    except RequestEntityTooLarge:
        raise too_large(limit) from None


def too_large(limit: int) -> TooLarge:
    """Return the error for an upload that exceeds the limit."""
    return TooLarge(
        f"a corpus may have at most {limit:,} bytes (QUIRE_MAX_CORPUS_BYTES). "
        "Upload a part of it, or ask the server's admin to raise the limit"
    )


def _read_raw(query: UploadFields) -> Upload:
    encoding = query.encoding or request.mimetype_params.get("charset") or DEFAULT_ENCODING
    text = decode(request.get_data(cache=False), encoding)
    return Upload(query.name or DEFAULT_NAME, query.visibility, text)


def _read_form(_query: UploadFields) -> Upload:
    unknown = sorted(set(request.files) - {"file"})
    if unknown:
        raise Invalid(
            unknown[0], None, "not a file field of this form. Send one file, named `file`"
        )
    file = request.files.get("file")
    if file is None or len(request.files.getlist("file")) != 1:
        raise Invalid(
            "file", None, "required exactly once, with a file name. Send the text as a file"
        )
    fields = validate(UploadFields, request.form.to_dict())
    text = decode(_file_bytes(file), fields.encoding or DEFAULT_ENCODING)
    return Upload(fields.name or _file_name(file), fields.visibility, text)


def _file_bytes(file: FileStorage) -> bytes:
    data: bytes = file.read()
    limit = services().settings.max_corpus_bytes
    if len(data) > limit:
        raise too_large(limit)
    return data


def _file_name(file: FileStorage) -> str:
    stem = PurePath(file.filename or "").name
    printable = "".join(character for character in stem if character.isprintable()).strip()
    return printable[:200] or DEFAULT_NAME


def _read_as_json(_query: UploadFields) -> Upload:
    body = validate(UploadJson, read_json())
    limit = services().settings.max_corpus_bytes
    if len(body.text.encode()) > limit:
        raise too_large(limit)
    return Upload(body.name, body.visibility, normalise(body.text))
