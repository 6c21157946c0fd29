"""What a client and the workers on it send of themselves, as settings and the program's own OpenTelemetry say."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from temporalio.client import Interceptor
from temporalio.runtime import Runtime

from holdfast.engine.telemetry.metrics import Metrics, otlp_of, runtime
from holdfast.engine.telemetry.observing import Observer

if TYPE_CHECKING:
    from holdfast.engine.telemetry.tracing import Tracing

logger = logging.getLogger("holdfast.telemetry")


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """What is on. Nothing, by default."""

    runtime: Runtime | None = None
    tracing: Tracing | None = None
    metrics: Metrics | None = None

    @classmethod
    def of(cls, otel: Mapping[str, str], *, metrics: str | None) -> Telemetry:
        """Turn on what is asked for.

        Args:
            otel: OpenTelemetry's own variables.
            metrics: Where metrics are served for Prometheus.

        Raises:
            InvalidConfiguration: They cannot be served there.
        """
        otlp = None if metrics is not None else otlp_of(otel)
        native = runtime(metrics, otlp)
        measured = metrics is not None or otlp is not None
        return cls(
            runtime=native,
            tracing=_tracing(otel),
            metrics=Metrics(native.metric_meter) if measured else None,
        )

    @property
    def interceptors(self) -> Sequence[Interceptor]:
        """Those of a client."""
        if self.tracing is None:
            return []
        from holdfast.engine.telemetry.watch import ClientTracing

        return [ClientTracing(self.tracing)]

    @property
    def observers(self) -> Sequence[Observer]:
        """Who is told of steps and runs besides those of the worker itself."""
        return [self.metrics] if self.metrics is not None else []

    async def flush(self) -> None:
        """Send the last spans; what cannot be sent within five seconds is left."""
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.flush)


def _tracing(otel: Mapping[str, str]) -> Tracing | None:
    """On where the program has set up OpenTelemetry by itself, or its variables name a place to send traces to."""
    if otel.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is not None and sys.modules.get("opentelemetry.sdk.trace") is not None:
        from holdfast.engine.telemetry.tracing import Tracing, current_provider

        provider = current_provider()
        if provider is not None:
            return Tracing(provider)
    endpoint = otel.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or otel.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint or otel.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    try:
        from holdfast.engine.telemetry.otlp import exporting_provider
        from holdfast.engine.telemetry.tracing import Tracing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        logger.warning(
            "traces were to go to %s, but OpenTelemetry is not installed: pip install 'holdfast[telemetry]'",
            endpoint,
        )
        return None
    protocol = otel.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    return Tracing(exporting_provider(otel.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)))
