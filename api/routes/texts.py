"""Texts: list, read and keep."""

from flask import Response
from sqlalchemy import select
from sqlalchemy import text as sql_text

from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import json_response, page_response
from api.operations.library.lineage import of_text
from api.permissions import current_user, not_of_deleted_model, own_text
from api.schemas.params import IdPath, TextsPage
from api.schemas.replies import Listing
from api.schemas.requests import TextUpdate
from api.schemas.texts import TextReply
from api.serializers.texts import text_replies, text_reply
from api.services import reading, writing
from shared.tables import KEPT, GeneratedText

texts = Resource("texts", "Texts that models wrote for you")

NEWEST = SortOrder("texts", (GeneratedText.id,))


@texts.get("/texts", Listing[TextReply])
def list_texts(query: TextsPage) -> Response:
    """List your texts, newest first."""
    statement = select(GeneratedText).where(GeneratedText.user_id == current_user().id)
    for column, value in (
        (GeneratedText.model_id, query.model),
        (GeneratedText.job_id, query.job),
    ):
        statement = statement if value is None else statement.where(column == value)
    if query.kept is not None:
        # As the partial index says it.
        statement = statement.where(sql_text(KEPT) if query.kept else ~GeneratedText.kept)
    if query.model is not None:
        statement = statement.where(not_of_deleted_model(GeneratedText.model_id))
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
        return page_response(text_replies(session, [row[0] for row in rows]), next_cursor)


@texts.get("/texts/<id>", TextReply)
def read_text(path: IdPath) -> Response:
    """Read one text and its lineage."""
    with reading() as session:
        text = own_text(session, path.id)
        lineage = of_text(session, text)
        return json_response(text_reply(session, text).model_copy(update={"lineage": lineage}))


@texts.patch("/texts/<id>", TextReply)
def change_text(path: IdPath, body: TextUpdate) -> Response:
    """Keep a text, with a note or without one, or keep it no longer.

    `GET /v1/texts?kept=true` lists what you keep. Nobody else sees your notes.
    """
    with writing() as session:
        text = own_text(session, path.id)
        if "kept" in body.model_fields_set or body.note is not None:
            text.kept = body.kept
        if "note" in body.model_fields_set or not text.kept:
            text.note = body.note
        session.flush()
        return json_response(text_reply(session, text))
