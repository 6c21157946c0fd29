"""Sends spans where OpenTelemetry's own variables say. Imported only where traces are on."""

from __future__ import annotations

import importlib

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from holdfast.errors import InvalidConfiguration


def exporting_provider(protocol: str) -> TracerProvider:
    """A provider for the process, which the user's own spans go through too. The exporter, the batches and the sampler
    read their variables themselves.

    Args:
        protocol: `http/protobuf` or `grpc`.

    Raises:
        InvalidConfiguration: What sends by this protocol is not installed.
    """
    resource = Resource.create()
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "holdfast"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(_exporter(protocol)))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(protocol: str) -> SpanExporter:
    if protocol == "grpc":
        try:
            module = importlib.import_module("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
        except ModuleNotFoundError as error:
            raise InvalidConfiguration(
                "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: pip install opentelemetry-exporter-otlp-proto-grpc, or use "
                "http/protobuf"
            ) from error
        made: SpanExporter = module.OTLPSpanExporter()
        return made
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
