"""``GET /metrics``: the figures of the whole server, for Prometheus."""

from flask import Response

from api.http.authentication import open_by_setting
from api.http.openapi import Resource, returns_non_json
from api.operations.figures.scrape import CONTENT_TYPE, expose
from api.services import services

scrape = Resource("scrape", "Figures for Prometheus", prefix="")

_TEXT = {
    "content": {"text/plain": {"schema": {"type": "string"}}},
    "description": "Prometheus's text format",
}


@scrape.get("/metrics", _TEXT, scope="metrics")
@returns_non_json
@open_by_setting
def read_metrics() -> Response:
    """Return figures of the whole server in Prometheus's text format.

    The key needs the scope `metrics`, which those of admins may have, unless the server is set to
    answer anybody. Counters and histograms hold all that the server has done since it counts, over
    restarts.
    """
    shared = services()
    # What this process has counted and not written yet. Others write theirs every few seconds.
    shared.http_figures.write()
    text = expose(shared.engine, shared.settings, shared.http_figures.streams())
    return Response(text, content_type=CONTENT_TYPE)
