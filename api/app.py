"""The Flask application and its parts, in the order in which a request meets them."""

from flask import Flask
from sqlalchemy import Engine

from api import error_handlers
from api.http import authentication, rate_limits, request_log
from api.http.cors import CrossOrigin
from api.http.openapi import make_app
from api.http.page import page
from api.http.swagger_ui import swagger_ui
from api.http.trusted_proxies import TrustedProxies
from api.openai import OPENAI_RESOURCES
from api.openai.errors import translate
from api.permissions import look_for_all
from api.routes.announcement import announcement
from api.routes.checkpoints import checkpoints
from api.routes.corpora import corpora
from api.routes.devices import devices
from api.routes.events import events
from api.routes.generate import generate
from api.routes.health import health
from api.routes.jobs import jobs
from api.routes.metrics import metrics
from api.routes.model_files import model_files
from api.routes.models import models
from api.routes.notifications import notifications
from api.routes.people.audit import audit
from api.routes.people.enrolments import enrol, enrolments
from api.routes.people.groups import groups
from api.routes.people.keys import keys
from api.routes.people.users import users
from api.routes.queue import queue
from api.routes.scrape import scrape
from api.routes.sessions import sessions, sign_in_resource
from api.routes.shares import shared, shares
from api.routes.storage import storage
from api.routes.texts import texts
from api.routes.train import train
from api.routes.usage import usage
from api.services import EXTENSION, Services
from shared.broker import Broker
from shared.database import make_engine
from shared.settings import Settings

RESOURCES = (
    corpora, train, generate, jobs, events, metrics, model_files, models, checkpoints, texts, queue,
    notifications, usage, devices, users, groups, keys, enrolments, enrol, audit, sign_in_resource,
    sessions, shares, shared, health, scrape, announcement, storage,
)  # fmt: skip
#: Corpus uploads have a limit of their own.
MAX_REQUEST_BYTES = 2 * 1024 * 1024
DESCRIPTION = """Train a recurrent network to write like a text that you upload.

Upload a corpus, `POST /v1/train` with its id, poll the job, then `POST /v1/generate` with the
model. Every error is `application/problem+json` (RFC 9457) and says how to fix it. Another
user's private resources return 404, exactly like missing ones. Lists are paginated: repeat the
request with `cursor` set to `next_cursor`. Times are UTC. Losses are in nats per token; a token
is a character unless the model's tokenizer is `word`.
"""


def create_app(
    settings: Settings, engine: Engine | None = None, broker: Broker | None = None
) -> Flask:
    """Create the API.

    Args:
        settings: The settings, read from the environment once at the start of the process.
        engine: The database; created from the settings by default.
        broker: The broker that wakes workers; created from the settings by default.

    Raises:
        shared.settings.SettingsError: REDIS_URL is needed and not set.
    """
    app = make_app(
        DESCRIPTION,
        (*RESOURCES, *OPENAI_RESOURCES),
        before=(
            request_log.begin,
            authentication.authenticate,
            rate_limits.check,
            authentication.check_scope,
            request_log.check_accept,
        ),
    )
    app.extensions[EXTENSION] = Services.create(
        settings,
        engine or make_engine(settings.database, settings.api_threads),
        broker or Broker(settings.broker),
        look_for_all,
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    if settings.allowed_origins:
        app.wsgi_app = CrossOrigin(app.wsgi_app, settings.allowed_origins)  # type: ignore[method-assign]
    # Outside of it, so that it compares with the origin that a proxy tells.
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_networks)  # type: ignore[method-assign]
    # Flask would redirect a path with two slashes, and its redirect is HTML.
    app.url_map.merge_slashes = False
    app.register_blueprint(swagger_ui)
    app.register_blueprint(page)
    app.after_request(request_log.end)
    app.after_request(translate)
    app.after_request(rate_limits.add_headers)
    # The last one is the first to be called.
    app.after_request(authentication.confirm_before_answer)
    error_handlers.install(app)
    return app
