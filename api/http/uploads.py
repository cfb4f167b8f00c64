"""A text that somebody uploads, in any of three ways, made into one form."""

from dataclasses import dataclass
from pathlib import PurePath

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import Invalid, TooLarge, UnsupportedMedia
from api.http.openapi import JSON, read_json, validated
from api.schemas.params import UploadFields
from api.schemas.requests import UploadJson
from api.services import services
from shared.corpus_text import CorpusText, decode, normalise

RAW_TYPES = ("text/plain", "application/octet-stream")
FORM_TYPE = "multipart/form-data"
DEFAULT_NAME = "untitled"
DEFAULT_ENCODING = "utf-8"
#: What a form or JSON may have around the text itself.
WRAPPING_BYTES = 64 * 1024
#: Of a form's other fields; less than one buffer of the parser's would refuse the file too.
MAX_FIELD_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """A text and what was said of it."""

    name: str
    visibility: str
    text: CorpusText


def read_upload(query: UploadFields) -> Upload:
    """The text that this request brings.

    Args:
        query: What the query says; for raw bytes only.

    Raises:
        UnsupportedMedia: The body is of no type that is taken.
        TooLarge: It has more bytes than `QUIRE_MAX_CORPUS_BYTES`.
        Invalid: A field is wrong.
        ValueError: One of `shared.corpus_text`, which says where the text is wrong.
    """
    read = {FORM_TYPE: _read_form, JSON: _read_as_json, **dict.fromkeys(RAW_TYPES, _read_raw)}
    reader = read.get(request.mimetype)
    if reader is None:
        raise UnsupportedMedia(
            f"a corpus can't be uploaded as {request.mimetype or 'a body of no stated type'}: "
            f"send {', '.join(RAW_TYPES)}, {JSON} or {FORM_TYPE}",
            headers={"Accept-Post": ", ".join(read)},
        )
    limit = services().settings.max_corpus_bytes
    wrapping = 0 if request.mimetype in RAW_TYPES else WRAPPING_BYTES
    request.max_content_length = limit + wrapping
    request.max_form_memory_size = MAX_FIELD_BYTES
    if request.mimetype not in RAW_TYPES and query.model_fields_set:
        field = min(query.model_fields_set)
        raise Invalid(field, getattr(query, field), "belongs into the body, not into the query")
    try:
        return reader(query)
    except RequestEntityTooLarge:
        raise too_large(limit) from None


def too_large(limit: int) -> TooLarge:
    """The refusal of more bytes than may be sent."""
    return TooLarge(
        f"a corpus may have at most {limit} bytes (QUIRE_MAX_CORPUS_BYTES): "
        "upload a part of it, or ask whoever runs this server to raise the limit"
    )


def _read_raw(query: UploadFields) -> Upload:
    declared = query.encoding or request.mimetype_params.get("charset") or DEFAULT_ENCODING
    text = decode(request.get_data(cache=False), declared)
    return Upload(query.name or DEFAULT_NAME, query.visibility, text)


def _read_form(_query: UploadFields) -> Upload:
    unknown = sorted(set(request.files) - {"file"})
    if unknown:
        raise Invalid(unknown[0], None, "is not a file of this form: send one, called file")
    file = request.files.get("file")
    if file is None or len(request.files.getlist("file")) != 1:
        raise Invalid("file", None, "is needed once, and with a file name: the text to upload")
    fields = validated(UploadFields, request.form.to_dict())
    text = decode(_bytes_of(file), fields.encoding or DEFAULT_ENCODING)
    return Upload(fields.name or _name_of(file), fields.visibility, text)


def _bytes_of(file: FileStorage) -> bytes:
    data: bytes = file.read()
    limit = services().settings.max_corpus_bytes
    if len(data) > limit:
        raise too_large(limit)
    return data


def _name_of(file: FileStorage) -> str:
    stem = PurePath(file.filename or "").name
    printable = "".join(character for character in stem if character.isprintable()).strip()
    return printable[:200] or DEFAULT_NAME


def _read_as_json(_query: UploadFields) -> Upload:
    said = validated(UploadJson, read_json())
    limit = services().settings.max_corpus_bytes
    if len(said.text.encode()) > limit:
        raise too_large(limit)
    return Upload(said.name, said.visibility, normalise(said.text))
