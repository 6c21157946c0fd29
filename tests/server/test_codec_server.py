from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment

from holdfast.engine.data.blobs import DirectoryStorage
from holdfast.engine.data.codec import HoldfastCodec
from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.data.keys import KeyRing
from holdfast.engine.data.step_data import REF_BYTES, StepData
from holdfast.errors import InvalidConfiguration
from holdfast_server import codec_server as module
from holdfast_server.codec_server import CodecServer

UI = "http://localhost:8233"
TEMPORAL = str(Path(sys.executable).with_name("temporal"))


@pytest.fixture
def converter(tmp_path: Path) -> DataConverter:
    codec = HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("k1")))
    return make_data_converter(codec=codec, storage=DirectoryStorage(tmp_path))


@pytest.fixture
def server(converter: DataConverter) -> Iterator[CodecServer]:
    with CodecServer(converter, port=0) as running:
        yield running


async def post(
    server: CodecServer, path: str, payloads: list[Payload] | bytes, **headers: str
) -> tuple[int, dict[str, str], Any]:
    if isinstance(payloads, bytes):
        body = payloads
    else:
        body = json.dumps(
            {
                "payloads": [
                    {
                        "metadata": {k: base64.b64encode(v).decode() for k, v in payload.metadata.items()},
                        "data": base64.b64encode(payload.data).decode(),
                        "externalPayloads": [{"sizeBytes": e.size_bytes} for e in payload.external_payloads],
                    }
                    for payload in payloads
                ]
            }
        ).encode()

    def send() -> tuple[int, dict[str, str], Any]:
        request = urllib.request.Request(
            server.url + path, body, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, dict(response.headers), json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), json.loads(error.read() or b"{}")

    return await asyncio.to_thread(send)


def values(answer: Any) -> list[Any]:
    return [json.loads(base64.b64decode(payload["data"])) for payload in answer["payloads"]]


async def test_what_is_encoded_can_be_decoded(server: CodecServer) -> None:
    plain = Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')
    status, _, encoded = await post(server, "/encode", [plain])
    assert status == 200
    assert "hello" not in base64.b64decode(encoded["payloads"][0]["data"]).decode(errors="ignore")
    _, _, decoded = await post(server, "/default/decode", json.dumps(encoded).encode())
    assert values(decoded) == ["hello"]
    assert base64.b64decode(decoded["payloads"][0]["metadata"]["encoding"]) == b"json/plain"


async def test_stored_payloads_are_shown_unless_the_ui_asks_for_references(
    server: CodecServer, converter: DataConverter
) -> None:
    stored = await converter.encode(["x" * 50_000, "small"])
    assert values((await post(server, "/decode", stored))[2]) == ["x" * 50_000, "small"]
    reference, small = values((await post(server, "/decode?preserveStorageRefs=true", stored))[2])
    assert reference["driverName"] == "holdfast"
    assert small == "small"
    assert values((await post(server, "/download", stored[:1]))[2]) == ["x" * 50_000]


async def test_a_large_stored_payload_is_shown_as_a_reference_and_can_be_downloaded(
    server: CodecServer, converter: DataConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOWN_BYTES", 40_000)
    stored = await converter.encode(["x" * 50_000])
    assert values((await post(server, "/decode", stored))[2])[0]["driverName"] == "holdfast"
    assert values((await post(server, "/download", stored))[2]) == ["x" * 50_000]


async def test_a_large_step_result_can_be_downloaded(server: CodecServer, converter: DataConverter) -> None:
    value = "y" * REF_BYTES
    ref = await StepData(converter).encode_result(value, TypeAdapter(str), step="load")
    encoded = await converter.encode([RawValue(ref)])
    assert values((await post(server, "/decode", encoded))[2])[0]["step"] == "load"
    assert values((await post(server, "/download", encoded))[2]) == [value]


async def test_one_unreadable_payload_does_not_hide_the_others(
    server: CodecServer, converter: DataConverter
) -> None:
    other = HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("k2")))
    [unknown] = await other.encode([Payload(data=b"1")])
    [known] = await converter.encode([1])
    status, _, answer = await post(server, "/decode", [unknown, known])
    assert status == 200
    assert base64.b64decode(answer["payloads"][0]["data"]) == unknown.data
    assert base64.b64decode(answer["payloads"][1]["data"]) == b"1"
    status, _, answer = await post(server, "/download", [unknown])
    assert status == 422
    assert "'k2'" in answer["message"]


async def test_only_the_ui_may_call_from_a_browser(server: CodecServer) -> None:
    plain = [Payload(metadata={"encoding": b"json/plain"}, data=b"1")]
    status, headers, _ = await post(server, "/decode", plain, Origin=UI)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, UI)
    status, headers, _ = await post(server, "/decode", plain, Origin="http://evil.example")
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers

    def preflight(origin: str) -> tuple[int, str | None]:
        request = urllib.request.Request(server.url + "/decode", headers={"Origin": origin}, method="OPTIONS")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.headers["Access-Control-Allow-Headers"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None

    status, allowed = await asyncio.to_thread(preflight, UI)
    assert status == 204
    assert allowed is not None
    assert "X-Namespace" in allowed
    assert await asyncio.to_thread(preflight, "http://evil.example") == (403, None)


async def test_a_token_is_asked_for_when_there_is_one(converter: DataConverter) -> None:
    plain = [Payload(metadata={"encoding": b"json/plain"}, data=b"1")]
    with CodecServer(converter, port=0, token="t0ken") as server:
        assert (await post(server, "/decode", plain))[0] == 401
        assert (await post(server, "/decode", plain, Authorization="Bearer other"))[0] == 401
        assert (await post(server, "/decode", plain, Authorization="Bearer t0ken"))[0] == 200


def test_other_machines_are_served_only_with_a_token(converter: DataConverter) -> None:
    with pytest.raises(InvalidConfiguration, match="token"):
        CodecServer(converter, host="0.0.0.0", port=0)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/decode", b"not json", 400),
        ("/decode", b"\xff\xfe", 400),
        ("/decode", b"[" * 100_000, 400),
        ("/decode", b'{"payloads": 5}', 400),
        ("/decode", b'{"unknown": []}', 400),
        ("/secrets", b'{"payloads": []}', 404),
        ("/decode", b'{"payloads": []}', 200),
    ],
)
async def test_bad_requests_are_refused(server: CodecServer, path: str, body: bytes, status: int) -> None:
    assert (await post(server, path, body))[0] == status


@pytest.mark.parametrize(("length", "status"), [(None, 411), ("-1", 413), ("99999999999", 413), ("x", 411)])
async def test_a_body_of_wrong_length_is_refused_unread(
    server: CodecServer, length: str | None, status: int
) -> None:
    def send() -> bytes:
        with socket.create_connection((server.host, server.port), timeout=5) as connection:
            header = f"Content-Length: {length}\r\n" if length else ""
            connection.sendall(f"POST /decode HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
            return connection.recv(1000)

    assert (await asyncio.to_thread(send)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_the_temporal_cli_shows_an_encrypted_run_through_it(
    server: CodecServer, converter: DataConverter
) -> None:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=TEMPORAL, dev_server_log_level="error"
    ) as environment:
        config = environment.client.config()
        config["data_converter"] = converter
        client = Client(**config)
        await client.start_workflow("Any", args=["the secret", "z" * 50_000], id="run", task_queue="none")
        address = environment.client.service_client.config.target_host

        async def shown(*options: str) -> list[bytes]:
            command = [
                TEMPORAL,
                "workflow",
                "show",
                "-w",
                "run",
                "--address",
                address,
                "-o",
                "json",
                *options,
            ]
            done = await asyncio.to_thread(
                lambda: subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
            )
            started = json.loads(done.stdout)["events"][0]["workflowExecutionStartedEventAttributes"]
            return [base64.b64decode(payload["data"]) for payload in started["input"]["payloads"]]

        assert b"the secret" not in b"".join(await shown())
        assert await shown("--codec-endpoint", server.url) == [
            b'"the secret"',
            b'"' + b"z" * 50_000 + b'"',
        ]
