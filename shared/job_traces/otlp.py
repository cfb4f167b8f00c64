"""Sends the spans of jobs to a collector: OTLP over HTTP. It needs the extra `otel`."""

import threading
import time
import uuid

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from shared.job_traces import Attributes, JobTraces

#: Where collectors take traces.
OTLP_PATH = "/v1/traces"
#: How long a span waits for others. A worker's child ends half a second after its last run.
BATCH_SECONDS = 0.2
#: How long sending some spans may take, repetitions included.
SEND_SECONDS = 3.0
CLOSE_SECONDS = 2.0
SPAN_ID_BITS = 64
NANOSECONDS = 1_000_000_000


class OtlpTraces(JobTraces):
    """Records spans in memory, and sends them from a thread; no collector, no spans.

    Args:
        url: The collector's address, to which `/v1/traces` is added.
        service: What this process is to the collector.
    """

    def __init__(self, url: str, service: str) -> None:
        self._ids = _JobIds()
        self._provider = TracerProvider(
            # Not a share of all: that goes by the id, and a job's id is not all random.
            ALWAYS_ON,
            Resource.create({"service.name": service}),
            # The process ends as it did before; `close` says for how long it waits.
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        exporter = OTLPSpanExporter(url.rstrip("/") + OTLP_PATH, timeout=SEND_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=BATCH_SECONDS * 1000)
        )
        self._tracer = self._provider.get_tracer("quire")

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
        """Record a span; see `JobTraces`."""
        trace_id = uuid.UUID(job_id).int
        if root:
            self._ids.root_of = trace_id
        # Collectors order spans by the machine's time of day.
        offset = time.time_ns() - int(time.monotonic() * NANOSECONDS)
        span = self._tracer.start_span(
            name,
            Context() if root else _under_root(trace_id),
            SpanKind.SERVER if root else SpanKind.INTERNAL,
            {"quire.job": job_id, **attributes},
            start_time=offset + int(began * NANOSECONDS),
        )
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(StatusCode.ERROR)
        span.end(offset + int(ended * NANOSECONDS))

    def close(self) -> None:
        """Send what is still in memory, for a short while; see `JobTraces`."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def _root_span_id(trace_id: int) -> int:
    # Its first bits are the variant of the UUID, so it is never 0, which would be none.
    return trace_id & (1 << SPAN_ID_BITS) - 1


def _under_root(trace_id: int) -> Context:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    root = SpanContext(trace_id, _root_span_id(trace_id), is_remote=True, trace_flags=sampled)
    return set_span_in_context(NonRecordingSpan(root), Context())


class _JobIds(threading.local, RandomIdGenerator):
    """Gives a root the ids that follow from its job, and every other span a random one.

    Attributes:
        root_of: The trace whose root this thread records next.
    """

    root_of: int | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.root_of is None else self.root_of

    def generate_span_id(self) -> int:
        trace_id, self.root_of = self.root_of, None
        return super().generate_span_id() if trace_id is None else _root_span_id(trace_id)
