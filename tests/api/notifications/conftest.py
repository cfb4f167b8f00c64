"""A receiver of webhooks, a mail box, and the courier that sends to them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from api.app import create_app
from api.services import EXTENSION
from shared.broker import Broker
from shared.clock import database_now
from shared.database import make_engine
from shared.notifications.courier import Courier
from shared.queue import Queue
from shared.settings import Settings
from tests.api.harness import ApiHarness
from tests.services.webhooks import MailBox, Receiver, mailbox, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def box() -> Iterator[MailBox]:
    with mailbox() as box:
        yield box


@pytest.fixture
def harness(settings: Settings, box: MailBox) -> Iterator[ApiHarness]:
    """An API that allows webhooks to this machine, and has a mail server."""
    settings = Settings(
        **settings.model_dump()
        | {
            "webhook_allow": "127.0.0.1",
            "smtp_url": f"smtp+plain://127.0.0.1:{box.port}",
            "mail_from": "quire@lab.example",
            "mail_domains": "lab.example",
        }
    )
    engine = make_engine(settings.database)
    app = create_app(settings, engine, Broker(settings.broker))
    yield ApiHarness(app, engine, Queue(engine, settings))
    app.extensions[EXTENSION].close()


class Later:
    """The database's clock, moved on by a test."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self, connection: Connection) -> datetime:
        return database_now(connection) + self.by


@pytest.fixture
def later() -> Later:
    return Later()


def courier(harness: ApiHarness, later: Later, **options: Any) -> Courier:
    settings = harness.app.extensions[EXTENSION].settings
    return Courier(
        harness.engine, settings.address_policy, settings.mail_server, clock=later, **options
    )


def end(harness: ApiHarness, job: Any, kind: str = "train") -> None:
    harness.queue.succeed(harness.claim(job["id"], kind))
