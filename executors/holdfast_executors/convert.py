"""`convert`: reads JSON, CSV, XML, Base64 and HTML that stand in a text, and writes them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from holdfast import Executor, ExecutorContext, ExecutorOptions, InvalidInput
from holdfast.spec.plain import json_kind
from holdfast_executors.convert_csv import read_csv, write_csv
from holdfast_executors.convert_html import html_to_text
from holdfast_executors.convert_xml import read_xml, write_xml

MAX_BYTES = 50 * 1024**2
"""The largest text that is read: what may go from step to step."""


class ConvertConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Give `read`, `write` or both: what was read is written in the other format then."""

    read: Literal["json", "csv", "xml", "base64", "html", "text"] | None = None
    """The format of the text that is read."""

    write: Literal["json", "csv", "xml", "base64", "text"] | None = None
    """The format of the text that is written. Default: the output is the value that was read."""

    data: JsonValue = None
    """What is converted. Default: the input of the node."""

    header: bool = True
    """Whether the first line of CSV names the columns: rows are objects then, otherwise lists."""

    delimiter: str = Field(default=",", pattern=r'^[^"\r\n]$')
    """What stands between the fields of CSV."""

    spreadsheet: bool = False
    """Whether CSV is written for a spreadsheet: an apostrophe goes before a text that it would run as a formula."""


class Convert(Executor[ConvertConfig, JsonValue]):
    """Converts between values and JSON, CSV, XML, Base64 or plain text, and HTML to text. The result is the output."""

    type = "convert"
    options = ExecutorOptions(timeout=timedelta(minutes=2), has_effects=False, idempotent=True, local=True)

    async def execute(self, ctx: ExecutorContext, config: ConvertConfig, input: JsonValue) -> JsonValue:
        """See base class."""
        del ctx
        data = config.data if "data" in config.model_fields_set else input
        return await asyncio.to_thread(_convert, config, data)

    def validate(self, config: ConvertConfig) -> list[str]:
        """See base class."""
        problems = [] if config.read or config.write else ["give read, write, or both"]
        given, formats = config.model_fields_set, (config.read, config.write)
        if "csv" not in formats and (unused := sorted(given & {"header", "delimiter"})):
            problems.append(f"{', '.join(unused)}: only csv has that")
        if config.write != "csv" and config.spreadsheet:
            problems.append("spreadsheet: only for write: csv")
        return problems


def _convert(config: ConvertConfig, data: JsonValue) -> JsonValue:
    value = _read(config, data) if config.read is not None else data
    return _write(config, value) if config.write is not None else value


def _read(config: ConvertConfig, data: JsonValue) -> JsonValue:
    if not isinstance(data, str):
        raise InvalidInput(f"read: {config.read} is in a text, got {json_kind(data)}")
    if config.read == "csv":
        return read_csv(data, header=config.header, delimiter=config.delimiter)
    if config.read == "json":
        from holdfast.spec.strict_json import parse_json

        found: JsonValue = parse_json(data, max_bytes=MAX_BYTES)
        return found
    if config.read == "base64":
        return _from_base64(data)
    ways = {"xml": read_xml, "html": html_to_text}
    return ways[config.read](data) if config.read in ways else data


def _write(config: ConvertConfig, value: JsonValue) -> str:
    if config.write == "csv":
        return write_csv(
            value, header=config.header, delimiter=config.delimiter, spreadsheet=config.spreadsheet
        )
    if config.write == "xml":
        return write_xml(value)
    if config.write == "json" or not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    else:
        text = value
    return base64.b64encode(text.encode()).decode() if config.write == "base64" else text


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        what = "holds no text in UTF-8" if isinstance(error, UnicodeDecodeError) else f"is none: {error}"
        raise InvalidInput(f"the Base64 {what}") from None
