"""Store a text as a corpus, together with whatever is made of it."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Conflict
from api.http.idempotency import Creation, Result, create_once
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader
from api.services import reading, services
from shared import blobs
from shared.clock import database_now
from shared.scheduling import cap_checks
from shared.tables import Corpus
from shared.texts.corpus_text import CorpusText
from shared.texts.items import Items


def create_with_text(
    header: IdempotencyHeader,
    content: BaseModel | bytes,
    text: CorpusText,
    create: Callable[[Session], Creation],
) -> Result:
    """Create a resource that needs a text's bytes, which are stored before its transaction.

    Args:
        header: As for `create_once`.
        content: As for `create_once`.
        text: The text.
        create: Creates the resource, with a corpus from `insert_corpus`.

    Raises:
        shared.scheduling.errors.CapReached: The user's corpora would be too many or too large.
        Conflict: Other requests keep deleting the same bytes.
    """
    # Checked before a byte is stored, and again in the transaction that inserts the row.
    with reading() as session:
        cap_checks.check_corpus(
            session.connection(), services().settings, current_user().id, len(text.data)
        )
    for _ in range(blobs.ATTEMPTS):
        try:
            with blobs.stored(services().engine, text.data):
                return create_once(header, content, create)
        except blobs.MissingBlob:
            # Another request has dropped the same bytes before the row came.
            continue
    raise Conflict("other requests keep deleting the same text. Try again")


def insert_corpus(
    session: Session, name: str, visibility: str, text: CorpusText, items: Items | None = None
) -> Corpus:
    """Insert a corpus of the current user, whose bytes are stored.

    Args:
        session: The session of the request.
        name: Its name.
        visibility: Who may see it.
        text: Its text.
        items: What its items are; None for one text.

    Raises:
        shared.scheduling.errors.CapReached: The user's corpora would be too many or too large.
        shared.blobs.MissingBlob: Another request has dropped the bytes.
    """
    sha256 = hashlib.sha256(text.data).hexdigest()
    connection = session.connection()
    blobs.publish(connection, sha256)
    cap_checks.check_corpus(connection, services().settings, current_user().id, len(text.data))
    corpus = Corpus(
        user_id=current_user().id,
        name=name,
        visibility=visibility,
        sha256=sha256,
        encoding=text.encoding,
        bytes=len(text.data),
        characters=text.characters,
        alphabet=text.alphabet,
        alphabet_lowercase=text.alphabet_lowercase,
        distinct_characters=len(text.alphabet),
        normal_form=text.normal_form,
        findings=[finding.as_dict() for finding in text.findings],
        parts=parts(text),
        items=None if items is None else items.as_dict(),
        created_at=database_now(connection),
    )
    session.add(corpus)
    session.flush()
    return corpus


def find_or_insert_corpus(session: Session, name: str, text: CorpusText) -> Corpus:
    """Return the current user's newest corpus of a text, or insert a private one."""
    sha256 = hashlib.sha256(text.data).hexdigest()
    own = (Corpus.user_id == current_user().id) & Corpus.deleted_at.is_(None)
    same = own & (Corpus.sha256 == sha256)
    newest = select(Corpus).where(same).order_by(Corpus.id.desc()).limit(1)
    found = session.scalar(newest.with_for_update(read=True, key_share=True))
    return found or insert_corpus(session, name, "private", text)


def parts(text: CorpusText) -> list[dict[str, Any]]:
    """The files of a text of several."""
    return [asdict(part) for part in text.parts] if len(text.parts) > 1 else []
