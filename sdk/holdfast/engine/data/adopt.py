"""Data converters that users made themselves: which of them can carry Holdfast's values."""

from __future__ import annotations

import dataclasses

from temporalio.converter import DataConverter, DefaultPayloadConverter

from holdfast.errors import InvalidConfiguration


def can_carry(converter: DataConverter) -> bool:
    """Whether it writes plain JSON by pydantic, as Holdfast's own does."""
    from temporalio.contrib.pydantic import PydanticPayloadConverter

    from holdfast.engine.data.converter import HoldfastPayloadConverter

    return issubclass(converter.payload_converter_class, HoldfastPayloadConverter | PydanticPayloadConverter)


def adopt(given: DataConverter, own: DataConverter) -> DataConverter:
    """The converter for a client that Holdfast shares with its owner.

    Args:
        given: The one that the client was made with. Its codec, failure converter and storage stay.
        own: Holdfast's, as the settings ask for it.

    Raises:
        InvalidConfiguration: It has a payload converter of its own, which may not write what Holdfast reads.
    """
    if given == DataConverter.default:
        return own
    if can_carry(given):
        return given
    if given.payload_converter_class is DefaultPayloadConverter:
        return dataclasses.replace(given, payload_converter_class=own.payload_converter_class)
    raise InvalidConfiguration(
        f"the client's payload converter {given.payload_converter_class.__qualname__} is not Temporal's default: leave "
        "it out and keep a codec if you need one, derive it from temporalio.contrib.pydantic's, or use a client of its "
        "own for Holdfast"
    )
