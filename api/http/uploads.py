"""Read an uploaded text from raw bytes, a form or JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from flask import current_app, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import BadJson, Invalid, TooLarge, UnsupportedMedia
from api.http import json_upload
from api.http.openapi import JSON, validate
from api.http.validation_errors import check_characters
from api.schemas.params import UploadFields, UploadQuery
from api.schemas.requests import UploadJson
from api.services import services
from shared.texts.characters import NormalForm
from shared.texts.corpus_text import CorpusText
from shared.texts.decoding import Options, decode_files, normalise_pieces
from shared.texts.items import Items, ItemsOptions, cut_into_items

RAW_TYPES = ("text/plain", "application/octet-stream")
FORM_TYPE = "multipart/form-data"
DEFAULT_NAME = "untitled"
MOST_FILES = 1000
_FORMS: dict[str | None, NormalForm | None] = {None: None, "nfc": "NFC", "nfd": "NFD"}
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
    items: Items | None = None


def read_upload(query: UploadQuery) -> Upload:
    """Read the uploaded text of this request.

    Args:
        query: The query parameters; all but `dry_run` are allowed for raw bytes only.

    Raises:
        UnsupportedMedia: The body has an unsupported media type.
        TooLarge: The text exceeds `QUIRE_MAX_CORPUS_BYTES`.
        Invalid: A field has an invalid value.
        RefusedText: The bytes are not a text that can be taken; the message says why.
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
    misplaced = query.model_fields_set - {"dry_run"}
    if request.mimetype not in RAW_TYPES and misplaced:
        field = min(misplaced)
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
    text = _decode([("", request.get_data(cache=False))], query)
    return _upload(query.name or DEFAULT_NAME, text, query)


def _upload(name: str, text: CorpusText, fields: UploadFields | UploadJson) -> Upload:
    """The upload, cut into items if it is a list."""
    for field in ("separator", "column"):
        if fields.items is None and (given := getattr(fields, field)) is not None:
            raise Invalid(field, given, f"not allowed without items. Set items to {field!r}")
    if fields.items is None:
        return Upload(name, fields.visibility, text)
    options = ItemsOptions(fields.items, fields.separator, fields.column)
    return Upload(name, fields.visibility, *cut_into_items(text, options))


def _decode(files: list[tuple[str, bytes]], fields: UploadFields) -> CorpusText:
    charset = request.mimetype_params.get("charset") if request.mimetype in RAW_TYPES else None
    options = Options(
        encoding=fields.encoding or charset,
        on_invalid=fields.on_invalid,
        normalize=_FORMS[fields.normalize],
        limit=services().settings.max_corpus_bytes,
    )
    return decode_files(files, options)


def _read_form(_query: UploadFields) -> Upload:
    unknown = sorted(set(request.files) - {"file"})
    if unknown:
        raise Invalid(unknown[0], None, "not a file field of this form. Each file is named `file`")
    files = request.files.getlist("file")
    if not files:
        raise Invalid("file", None, "required, with a file name. Send the text as a file")
    if len(files) > MOST_FILES:
        raise Invalid(
            "file", len(files), f"at most {MOST_FILES:,} files make one corpus. Join some of them"
        )
    check_characters(request.form.to_dict(flat=False), "")
    for name, values in request.form.lists():
        if len(values) > 1:
            raise Invalid(name, values, f"given {len(values)} times. Give it once")
    fields = validate(UploadFields, request.form.to_dict())
    text = _decode(_contents(files), fields)
    return _upload(fields.name or file_name(files[0]), text, fields)


def _contents(files: list[FileStorage]) -> list[tuple[str, bytes]]:
    limit, total = services().settings.max_corpus_bytes, 0
    contents = []
    for file in files:
        data: bytes = file.read()
        total += len(data)
        if total > limit:
            raise too_large(limit)
        contents.append((file_name(file), data))
    return contents


def file_name(file: FileStorage) -> str:
    """Return the name of a file as a text may have it."""
    stem = PurePath(file.filename or "").name
    printable = "".join(character for character in stem if character.isprintable()).strip()
    return printable[:200] or DEFAULT_NAME


def _read_as_json(_query: UploadFields) -> Upload:
    data = request.get_data(cache=False)
    part = json_upload.split(data, "text", ENVELOPE_BYTES)
    fields = _parse(part.rest)
    try:
        body = validate(UploadJson, fields)
    except Invalid:
        # As in every request, characters are looked at before fields.
        for piece in json_upload.pieces(data, part):
            check_characters(piece, "text")
        raise
    # A value that is no string of the top level is in the rest, and short.
    texts = json_upload.pieces(data, part) if part.end else iter([body.text])
    limit = services().settings.max_corpus_bytes
    text = normalise_pieces(_within(texts, limit), _FORMS[body.normalize])
    return _upload(body.name, text, body)


def _parse(rest: bytes) -> Any:
    try:
        fields = current_app.json.loads(rest)
    except (ValueError, RecursionError) as error:
        raise BadJson(f"the body is not valid JSON ({error})") from None
    check_characters(fields, "")
    return fields


def _within(texts: Iterator[str], limit: int) -> Iterator[str]:
    """Pass on the pieces of a text.

    Raises:
        TooLarge: They have more bytes than the limit in all.
    """
    total = 0
    for text in texts:
        total += len(text.encode(errors="surrogatepass"))
        if total > limit:
            raise too_large(limit)
        yield text
