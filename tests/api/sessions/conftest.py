"""A browser that is signed in."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared import sessions
from shared.database import make_sessions
from shared.tables import User
from tests.api.harness import ApiHarness, Person

CSRF = "X-CSRF-Token"


class Browser:
    """A browser: it keeps the cookie, and sends no key."""

    def __init__(self, harness: ApiHarness) -> None:
        self.client: FlaskClient = harness.app.test_client()
        self.csrf = ""

    def sign_in(self, **body: str) -> TestResponse:
        response = self.client.post("/v1/session", json=body)
        if response.status_code == 201:
            self.csrf = response.json["csrf_token"]
        return response

    def send(self, method: str, path: str, json: Any = None, csrf: str | None = None) -> Any:
        token = self.csrf if csrf is None else csrf
        headers = {CSRF: token} if token else {}
        return self.client.open(path, method=method, json=json, headers=headers)

    @property
    def token(self) -> str:
        cookie = self.client.get_cookie("quire_session_80", path="/v1")
        assert cookie is not None
        return str(cookie.value)


@pytest.fixture
def browser(harness: ApiHarness, ann: Person) -> Browser:
    browser = Browser(harness)
    assert browser.sign_in(key=ann.key).status_code == 201
    return browser


def link_for(harness: ApiHarness, name: str) -> str:
    with make_sessions(harness.engine).begin() as session:
        return sessions.make_link(session, session.scalars(select(User).filter_by(name=name)).one())
