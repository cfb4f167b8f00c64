"""Traces of jobs for OpenTelemetry, where `QUIRE_TRACES_URL` names a collector.

A trace is a job: its id is the job's, without hyphens. So the API and the workers write into one
trace without a column that would carry it, and whoever has a job's id finds its trace. The span of
the request is the root; its id is the last half of the job's.

Nothing of OpenTelemetry, which is the extra `otel`, is imported unless the setting is there.
"""

from collections.abc import Mapping
from typing import Protocol

import structlog

from shared.settings import Settings

#: What a span says beside its name and its times: no user, and no text.
Attributes = Mapping[str, str | int]

log = structlog.get_logger(__name__)


class JobTraces(Protocol):
    """Records spans of jobs once they have ended."""

    def record(
        self,
        job_id: str,
        name: str,
        began: float,
        ended: float,
        attributes: Attributes,
        *,
        error: str | None = None,
        root: bool = False,
    ) -> None:
        """Record a span. It is sent later, from another thread; a full memory drops the oldest.

        Args:
            job_id: The job, whose trace it belongs to.
            name: Its name.
            began: When it began, in seconds by `time.monotonic`.
            ended: When it ended, by the same clock.
            attributes: What else it says.
            error: The kind of its failure; None if it is none.
            root: Whether it is the request, which all others of the trace come from.
        """

    def close(self) -> None:
        """Send what is still in memory, for two seconds at most."""


def job_traces(settings: Settings, service: str) -> JobTraces | None:
    """Return what records spans; None if there is no setting for it, or the extra is missing.

    Args:
        settings: The settings.
        service: What this process is to the collector: `quire-api` or `quire-worker`.
    """
    if settings.traces_url is None:
        return None
    try:
        from shared.job_traces.otlp import OtlpTraces
    except ImportError as error:
        # A server without its traces serves; one that does not start serves nobody.
        log.warning("traces_off", reason=str(error), hint="install the extra: quire[server,otel]")
        return None
    return OtlpTraces(settings.traces_url, service)
