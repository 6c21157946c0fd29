"""Metrics through Temporal's own meter: Temporal's and Holdfast's leave together, by a port for Prometheus or OTLP."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import unquote

from temporalio.common import MetricHistogramTimedelta, MetricMeter
from temporalio.runtime import (
    LoggingConfig,
    OpenTelemetryConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from holdfast.engine.telemetry.observing import RunEnd, StepEnd
from holdfast.errors import InvalidConfiguration

MAX_NAMES: Final = 200
"""How many steps, and how many workflows, have series of their own; all others share `other`."""

_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0)
_BUCKETS: Final = {
    "holdfast_step_duration": _SECONDS,
    "holdfast_step_wait": _SECONDS,
    "holdfast_run_duration": (*_SECONDS, 14400.0, 86400.0),
}


@dataclass(frozen=True, kw_only=True)
class Otlp:
    """Where metrics are sent."""

    url: str
    headers: tuple[tuple[str, str], ...]
    http: bool


def otlp_of(otel: Mapping[str, str]) -> Otlp | None:
    """What OpenTelemetry's variables say of metrics; None: they are not sent.

    Args:
        otel: The variables that begin with `OTEL_`.
    """
    kind = otel.get("OTEL_METRICS_EXPORTER", "otlp")
    whole = otel.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    url = otel.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "")
    if otel.get("OTEL_SDK_DISABLED", "").lower() == "true" or kind != "otlp" or not (url or whole):
        return None
    protocol = otel.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    http = otel.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", protocol) != "grpc"
    given = otel.get("OTEL_EXPORTER_OTLP_METRICS_HEADERS", otel.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
    pairs = (part.partition("=") for part in given.split(",") if "=" in part)
    return Otlp(
        url=url or (f"{whole.rstrip('/')}/v1/metrics" if http else whole),
        headers=tuple((name.strip(), unquote(value.strip())) for name, _, value in pairs),
        http=http,
    )


@functools.cache
def runtime(address: str | None, otlp: Otlp | None) -> Runtime:
    """Temporal's native part, one for all clients that want the same of it. Its warnings would stand among the output
    of the user's program.

    Args:
        address: Where metrics are served for Prometheus; then they are not sent.
        otlp: Where they are sent.

    Raises:
        InvalidConfiguration: They cannot be served or sent there.
    """
    quiet = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    config: PrometheusConfig | OpenTelemetryConfig | None = None
    if address is not None:
        config = PrometheusConfig(
            bind_address=address.replace("localhost", "127.0.0.1"),
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
            histogram_bucket_overrides=_BUCKETS,
        )
    elif otlp is not None:
        config = OpenTelemetryConfig(
            url=otlp.url,
            headers=dict(otlp.headers),
            http=otlp.http,
            durations_as_seconds=True,
            histogram_bucket_overrides=_BUCKETS,
        )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=quiet), metrics=config))
    except ValueError as error:
        place = f"metrics={address!r}: write host:port of a free port" if address else f"OTLP at {otlp}"
        raise InvalidConfiguration(f"{place}: {error}") from None


class Metrics:
    """Holdfast's own metrics.

    Args:
        meter: Temporal's.
    """

    def __init__(self, meter: MetricMeter) -> None:
        duration = meter.create_histogram_timedelta
        self._step = duration("holdfast_step_duration", "Attempts of steps, by outcome.", "s")
        self._wait = duration("holdfast_step_wait", "How long attempts waited for a worker.", "s")
        self._run = duration("holdfast_run_duration", "Runs that ended here, by outcome.", "s")
        self._retries = meter.create_counter("holdfast_step_retries", "Attempts after the first.")
        self._running = meter.create_gauge("holdfast_steps_running", "Steps that run now, which hold slots.")
        self._steps, self._workflows = _Names(), _Names()
        self._used: dict[str, int] = {}
        self._lock = threading.Lock()
        self._series: dict[tuple[MetricHistogramTimedelta, str, str], MetricHistogramTimedelta] = {}

    def step_began(self, queue: str) -> None:
        """See `Observer`."""
        self._count(queue, +1)

    def step_ended(self, end: StepEnd) -> None:
        """See `Observer`."""
        self._count(end.queue, -1)
        step = self._steps.bounded(end.step)
        self._of(self._step, "step", step, end.outcome).record(timedelta(seconds=end.seconds))
        if end.wait_seconds is not None:
            self._of(self._wait, "queue", end.queue).record(timedelta(seconds=end.wait_seconds))
        if end.attempt > 1:
            self._retries.add(1, {"step": step})

    def run_ended(self, end: RunEnd) -> None:
        """See `Observer`."""
        workflow = self._workflows.bounded(end.workflow)
        lasted = timedelta(seconds=max(0.0, end.seconds))
        self._of(self._run, "workflow", workflow, end.outcome).record(lasted)

    def _count(self, queue: str, change: int) -> None:
        with self._lock:
            self._used[queue] = used = self._used.get(queue, 0) + change
            self._running.set(used, {"queue": queue})

    def _of(
        self, histogram: MetricHistogramTimedelta, label: str, value: str, outcome: str = ""
    ) -> MetricHistogramTimedelta:
        """A series, kept: making its labels costs more than recording."""
        key = (histogram, value, outcome)
        if key not in self._series:
            labels = {label: value, "outcome": outcome} if outcome else {label: value}
            self._series[key] = histogram.with_additional_attributes(labels)
        return self._series[key]


class _Names:
    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, name: str) -> str:
        if name not in self._known:
            if len(self._known) >= MAX_NAMES:
                return "other"
            self._known.add(name)
        return name
