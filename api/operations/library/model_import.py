"""Import a model: take the file of an exported one, check every number, and make rows of it."""

import hashlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import structlog
from flask import request
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge

from api.errors import Conflict, Invalid, TooLarge, TooManyUploads, UnsupportedMedia
from api.http.idempotency import Creation, Result, create_once, find_result
from api.http.openapi import validate
from api.operations.audit import check_sharing, record_visibility
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import ImportQuery
from api.serializers.models import model_reply
from api.services import reading, services
from shared import blobs
from shared.clock import database_now
from shared.free_disk import check_free_disk
from shared.model_files.about import MODEL_KEY
from shared.model_files.header import LENGTH_BYTES, Header, header_length, parse_header
from shared.process.python_module import python_module
from shared.scheduling import cap_checks
from shared.tables import Checkpoint, Model

OCTETS = "application/octet-stream"
#: What reads the file. The API can't import it: the pipeline's own reader is the workers'.
CHECKER = "worker.check_model"
CHECK_SECONDS = 150
PIECE_BYTES = 1024 * 1024

log = structlog.get_logger(__name__)


def import_model(header: IdempotencyHeader, query: ImportQuery) -> Result:
    """Store the model in this request's body as one of the current user's.

    Raises:
        UnsupportedMedia: The body is declared as something else than bytes.
        TooLarge: It exceeds `QUIRE_MAX_MODEL_BYTES`.
        Invalid: The file is refused; the error's code says why.
        MissingScope: Others would see the model, and the key lacks the scope `manage`.
        TooManyUploads: The server works on as many uploads as it may.
        shared.scheduling.errors.CapReached: The user's models would be too many or too large.
        shared.free_disk.DiskLow: The disk has too little room.
    """
    if request.mimetype != OCTETS:
        raise UnsupportedMedia(
            f"Content-Type: send the file itself as {OCTETS} (got {request.mimetype or 'none'})",
            headers={"Accept-Post": OCTETS},
        )
    check_sharing(query.visibility)
    limit = services().settings.max_model_bytes
    request.max_content_length = limit
    with _room(), tempfile.NamedTemporaryFile(prefix="quire-import-") as file:
        sha256 = _receive(file, limit)
        content = f"{query.name}\n{query.visibility}\n{sha256}\n".encode()
        if (result := find_result(header, content)) is not None:
            return result
        facts = _check(Path(file.name))
        if query.name is None:
            # A name of another server's must keep this one's rules, too.
            facts["name"] = validate(ImportQuery, {"name": facts["name"]}).name
        source = _checkpoint_of(file)
        for _ in range(blobs.ATTEMPTS):
            try:
                with blobs.stored(services().engine, source) as stored:
                    create = partial(
                        _insert, query=query, facts=facts, sha256=stored, size=source.size_bytes
                    )
                    return create_once(header, content, create)
            except blobs.MissingBlob:
                # Another request has dropped the same bytes before the row came.
                continue
    raise Conflict("other requests keep deleting the same model. Try again")


@contextmanager
def _room() -> Iterator[None]:
    """Hold the memory and disk that an import takes, and check the user's caps before it comes."""
    check_free_disk(services().engine, services().settings)
    size = min(request.content_length or 2**31, services().settings.max_model_bytes)
    with reading() as session:
        cap_checks.check_model(session.connection(), services().settings, current_user().id, 0)
    with services().upload_memory.hold(size) as fits:
        if not fits:
            raise TooManyUploads
        yield


def _receive(file: IO[bytes], limit: int) -> str:
    """Write the body to a file piece by piece; return its SHA-256."""
    digest = hashlib.sha256()
    try:
        while piece := request.stream.read(PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
    except RequestEntityTooLarge:
        raise TooLarge(
            f"a model may have at most {limit:,} bytes (QUIRE_MAX_MODEL_BYTES). Export it without "
            "its optimizer state, or ask the server's admin to raise the limit"
        ) from None
    file.flush()
    return digest.hexdigest()


def _check(path: Path) -> dict[str, Any]:
    """Have a process of its own read the file; return what it holds.

    Raises:
        Invalid: It is refused.
    """
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    # NumPy's own threads would each reserve memory, and there is nothing to multiply.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            python_module(CHECKER, str(path)),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refused("too-slow", "reading it takes longer than any model should") from None
    if done.returncode in (-signal.SIGKILL, -signal.SIGXCPU) or b"MemoryError" in done.stderr:
        raise _refused("too-much", "reading it takes more memory or time than any model should")
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        log.error("model_check_failed", status=done.returncode, reason=reason)
        raise RuntimeError(f"{CHECKER} ended with {done.returncode}: {reason}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if (refused := answer.get("refused")) is not None:
        raise _refused(refused["code"], refused["message"])
    return answer


def _refused(code: str, message: str) -> Invalid:
    return Invalid("body", None, message, code=code)


def _checkpoint_of(file: IO[bytes]) -> blobs.Source:
    """The checkpoint in an exported file: the bytes from before the export, where it is whole."""
    file.seek(0, os.SEEK_END)
    size = file.tell()

    def read_file(start: int, count: int) -> bytes:
        file.seek(start)
        return file.read(count)

    length = header_length(read_file(0, LENGTH_BYTES), size)
    header: Header = parse_header(read_file(0, LENGTH_BYTES + length), size)
    metadata = {name: text for name, text in header.metadata.items() if name != MODEL_KEY}
    head = header.only(list(header.tensors), metadata)

    def read(start: int, count: int) -> bytes:
        first = head[start : start + count]
        place = header.size_bytes + max(0, start - len(head))
        return first + read_file(place, count - len(first))

    return blobs.Source(len(head) + size - header.size_bytes, read)


def _insert(
    session: Session, *, query: ImportQuery, facts: dict[str, Any], sha256: str, size: int
) -> Creation:
    connection = session.connection()
    blobs.publish(connection, sha256)
    cap_checks.check_model(connection, services().settings, current_user().id, size)
    now = database_now(connection)
    model = Model(
        user_id=current_user().id,
        name=query.name or facts["name"],
        visibility=query.visibility,
        corpus_id=None,
        spec=facts["spec"],
        vocabulary=facts["characters"],
        vocabulary_size=facts["vocabulary_size"],
        characters_per_token=facts["characters_per_token"],
        from_checkpoint_id=None,
        origin=facts["origin"],
        created_at=now,
    )
    session.add(model)
    session.flush()
    session.add(
        Checkpoint(
            model_id=model.id,
            job_id=None,
            attempt=0,
            step=facts["step"],
            epoch=facts["epoch"],
            loss=facts["loss"],
            val_loss=facts["val_loss"],
            digest=facts["digest"],
            sha256=sha256,
            size_bytes=size,
            fingerprint=facts["fingerprint"],
            exact=facts["exact"],
            created_at=now,
        )
    )
    session.flush()
    record_visibility(session, model)
    return Creation(model_reply(session, model), 201, f"/v1/models/{model.id}")
