"""Texts: list and read."""

from flask import Response
from sqlalchemy import select

from api.authentication import caller
from api.http.openapi import Resource
from api.http.paging import Order, read_page
from api.http.responses import answer, answer_page
from api.operations.lineage import of_text
from api.permissions import own_text
from api.schemas.params import ById, TextsPage
from api.schemas.replies import Listing
from api.schemas.texts import TextReply
from api.serializers import text_reply
from api.services import reading
from shared.tables import GeneratedText

texts = Resource("texts", "What networks wrote for you")

NEWEST = Order("texts", (GeneratedText.id,))


@texts.get("/texts", Listing[TextReply])
def list_texts(query: TextsPage) -> Response:
    """Your texts, newest first."""
    statement = select(GeneratedText).where(GeneratedText.user_id == caller().id)
    for column, value in (
        (GeneratedText.model_id, query.model),
        (GeneratedText.job_id, query.job),
    ):
        statement = statement if value is None else statement.where(column == value)
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
    return answer_page((text_reply(row[0]) for row in rows), next_cursor)


@texts.get("/texts/<id>", TextReply)
def read_text(path: ById) -> Response:
    """One text, and where it comes from."""
    with reading() as session:
        text = own_text(session, path.id)
        lineage = of_text(session, text)
        return answer(text_reply(text).model_copy(update={"lineage": lineage}))
