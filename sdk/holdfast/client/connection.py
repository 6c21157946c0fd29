"""How a client reaches Temporal."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client as TemporalClient
from temporalio.converter import DataConverter
from temporalio.service import RPCError, TLSConfig

from holdfast.engine.data.step_data import StepData
from holdfast.engine.embedded import Attachment, attach
from holdfast.engine.inbox import DAG, PAUSED, WAITING
from holdfast.engine.telemetry.telemetry import Telemetry
from holdfast.errors import InvalidConfiguration, Unavailable
from holdfast.settings import Settings, load


@dataclass(kw_only=True)
class Connection:
    """A connected client and where it is."""

    temporal: TemporalClient
    address: str
    ui_url: str | None = None
    home: Path | None = None
    searchable: bool = False
    attachment: Attachment | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)
    data: StepData = field(init=False)

    def __post_init__(self) -> None:
        self.data = StepData(self.temporal.data_converter)

    async def close(self) -> None:
        """Give back the place at the embedded server."""
        await self.telemetry.flush()
        if self.attachment is not None:
            await self.attachment.close()


async def connect_embedded(
    home: Path | None, *, start: bool, time_skipping: bool, metrics: str | None, via: str | None = None
) -> Connection:
    """Attach to the server of a home, and connect to it or to a proxy in front of it.

    Raises:
        Unavailable, InvalidConfiguration: It does not run and may not or cannot be started.
    """
    telemetry = Telemetry.of(load(home).otel, metrics=metrics)
    attachment = await attach(home, start=start, time_skipping=time_skipping)
    info, settings = attachment.info, load(home)
    address = via or info.address
    converter = data_converter(settings, storage=settings.storage or info.blobs)
    try:
        temporal = await TemporalClient.connect(
            address,
            namespace=info.namespace,
            data_converter=converter,
            runtime=telemetry.runtime,
            interceptors=telemetry.interceptors,
        )
    except RuntimeError as exc:
        await attachment.close()
        raise Unavailable(f"the embedded server at {address} does not answer: {exc}") from exc
    if time_skipping:
        from holdfast.testing.clock import skipping

        temporal = skipping(temporal)
    return Connection(
        temporal=temporal,
        address=address,
        ui_url=info.ui_url,
        home=info.home,
        searchable=True,
        attachment=attachment,
        telemetry=telemetry,
    )


async def connect_cluster(
    address: str | None,
    *,
    namespace: str | None,
    api_key: str | None,
    tls: bool | TLSConfig | None,
    profile: str | None,
    metrics: str | None,
) -> Connection:
    """Connect to a cluster; what is not given comes from Temporal's own configuration.

    Raises:
        Unavailable: It does not answer.
        InvalidConfiguration: Its configuration file or the address is wrong.
    """
    from temporalio.envconfig import ClientConfigProfile

    try:
        config = ClientConfigProfile.load(profile).to_client_connect_config()
    except RuntimeError as exc:
        raise InvalidConfiguration(f"Temporal's configuration cannot be read: {exc}") from exc
    given = {"target_host": address, "namespace": namespace, "api_key": api_key, "tls": tls}
    config.update({key: value for key, value in given.items() if value is not None})  # type: ignore[typeddict-item]
    target = config.setdefault("target_host", "127.0.0.1:7233")
    settings = load()
    telemetry = Telemetry.of(settings.otel, metrics=metrics)
    converter = data_converter(settings, storage=settings.storage)
    try:
        temporal = await TemporalClient.connect(
            **config,
            data_converter=converter,
            runtime=telemetry.runtime,
            interceptors=telemetry.interceptors,
        )
    except RuntimeError as exc:
        raise Unavailable(f"Temporal at {target} does not answer: {exc}") from exc
    except ValueError as exc:
        raise InvalidConfiguration(f"address={target!r} is none, write host:port ({exc})") from exc
    return Connection(
        temporal=temporal,
        address=target,
        searchable=await has_search_attributes(temporal),
        telemetry=telemetry,
    )


async def connect_wrapped(temporal: TemporalClient) -> Connection:
    """Share a client that its owner has connected.

    Raises:
        InvalidConfiguration: Its data converter cannot carry Holdfast's values.
    """
    from holdfast.engine.data.adopt import can_carry

    if not can_carry(temporal.data_converter):
        raise InvalidConfiguration(
            "the Temporal client's data converter is not Holdfast's: make it with "
            "Client.connect(..., plugins=[holdfast.Plugin([...])])"
        )
    return Connection(
        temporal=temporal,
        address=temporal.service_client.config.target_host,
        searchable=await has_search_attributes(temporal),
    )


def data_converter(settings: Settings, *, storage: str | Path | None) -> DataConverter:
    """The converter that the settings ask for.

    Raises:
        InvalidConfiguration: A key, the storage or a missing extra.
    """
    from holdfast.engine.data.blobs import open_storage
    from holdfast.engine.data.codec import HoldfastCodec
    from holdfast.engine.data.converter import make_data_converter
    from holdfast.engine.data.keys import KeyRing

    codec = None
    if settings.compress or settings.encryption_keys:
        keys = KeyRing.parse(settings.encryption_keys) if settings.encryption_keys else None
        codec = HoldfastCodec(compress=settings.compress, keys=keys)
    return make_data_converter(codec=codec, storage=open_storage(storage) if storage else None)


async def has_search_attributes(temporal: TemporalClient) -> bool:
    """Whether the namespace has Holdfast's search attributes; writing unknown ones would block every run."""
    try:
        known = await temporal.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=temporal.namespace)
        )
    except RPCError:
        return False  # not allowed to ask, as on Temporal Cloud: runs then show waits in their memo only
    return {PAUSED.name, WAITING.name, DAG.name} <= set(known.custom_attributes)
