"""OpenTelemetry traces of batches, when an endpoint is set. Loaded only then."""

from typing import TYPE_CHECKING

from tillstream.telemetry.batch import BatchSeen, offsets

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

_NS = 1_000_000_000
_EXPORT_TIMEOUT_S = 5.0
_EXPORT_EVERY_MS = 1_000


class BatchTraces:
    """One span a batch, one below it for each step. They are made when the batch is over, from
    the times that were taken anyway, and leave on a thread of their own: a collector that is slow
    or away costs spans, never time. Headers for it come from OTEL_EXPORTER_OTLP_HEADERS."""

    def __init__(self, endpoint: str, *, service: str = "tillstream-stream") -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        url = endpoint.rstrip("/")
        url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint=url, timeout=_EXPORT_TIMEOUT_S),
                schedule_delay_millis=_EXPORT_EVERY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("tillstream.stream")

    def batch(self, seen: BatchSeen) -> None:
        from opentelemetry.trace import set_span_in_context

        start_ns = int((seen.ended_at_s - seen.total_s) * _NS)
        attributes: Attributes = {
            "tillstream.query": seen.query,
            "tillstream.batch_id": seen.batch_id,
            "tillstream.correlation": seen.correlation,
            "tillstream.offsets": [offsets(one) for one in seen.ranges],
            "tillstream.records": sum(seen.outcomes.values()),
        }
        span = self._tracer.start_span(
            f"{seen.query} batch", start_time=start_ns, attributes=attributes
        )
        below = set_span_in_context(span)
        at_ns = start_ns
        for step, seconds in seen.seconds.items():
            child = self._tracer.start_span(step, context=below, start_time=at_ns)
            at_ns += int(seconds * _NS)
            child.end(end_time=at_ns)
        span.end(end_time=int(seen.ended_at_s * _NS))

    def failure(self, query: str, reason: str) -> None:
        """A span that says why a query stopped."""
        from opentelemetry.trace import Status, StatusCode

        with self._tracer.start_as_current_span(f"{query} failure") as span:
            span.set_attribute("tillstream.query", query)
            span.set_status(Status(StatusCode.ERROR, reason))

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.shutdown()


def batch_traces(endpoint: str | None) -> BatchTraces | None:
    return BatchTraces(endpoint) if endpoint else None
