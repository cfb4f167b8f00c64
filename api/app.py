"""The application: its parts, in the order in which a request meets them."""

from flask import Flask
from sqlalchemy import Engine

from api import authentication, error_handlers
from api.http import request_log
from api.http.concurrency import ConcurrencyLimit
from api.http.openapi import make_app
from api.routes.checkpoints import checkpoints
from api.routes.corpora import corpora
from api.routes.devices import devices
from api.routes.docs import docs
from api.routes.events import events
from api.routes.generate import generate
from api.routes.health import health
from api.routes.jobs import jobs
from api.routes.metrics import metrics
from api.routes.models import models
from api.routes.queue import line
from api.routes.texts import texts
from api.routes.train import train
from api.routes.usage import usage
from api.routes.users import users
from api.services import EXTENSION, Services
from shared.broker import Broker
from shared.database import make_engine
from shared.settings import Settings

RESOURCES = (
    corpora, train, generate, jobs, events, metrics, models, checkpoints, texts, line, usage,
    devices, users, health,
)  # fmt: skip
#: Of a request that brings no corpus.
MAX_REQUEST_BYTES = 2 * 1024 * 1024
DESCRIPTION = """Teach a recurrent network to write like a text that you upload.

Upload a corpus, `POST /v1/train` with its id, poll the job, then `POST /v1/generate` with the
model. Every error is `application/problem+json` (RFC 9457) and says the way out. What is
private of somebody else's answers exactly like what does not exist. Lists come in pages: ask
again with `cursor` set to `next_cursor`. Times are UTC, losses in nats per token: a
character, unless the model's tokenizer is `word`.
"""


def create_app(
    settings: Settings, engine: Engine | None = None, broker: Broker | None = None
) -> Flask:
    """The API.

    Args:
        settings: Read from the environment once, by whoever starts the process.
        engine: The database; made from the settings if not given.
        broker: Sends wakes; made from the settings if not given.

    Raises:
        shared.settings.SettingsError: REDIS_URL is needed and not set.
    """
    app = make_app(
        DESCRIPTION,
        RESOURCES,
        before=(request_log.begin, authentication.sign_in, request_log.check_accept),
    )
    app.extensions[EXTENSION] = Services.of(
        settings,
        engine or make_engine(settings.database, settings.api_threads),
        broker or Broker(settings.broker),
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.wsgi_app = ConcurrencyLimit(app.wsgi_app, settings.api_threads)  # type: ignore[method-assign]
    # Two slashes are no address: a redirect would answer HTML.
    app.url_map.merge_slashes = False
    app.register_blueprint(docs)
    app.after_request(request_log.end)
    error_handlers.install(app)
    return app
