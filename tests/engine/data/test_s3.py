from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext

from holdfast.engine.data import s3 as s3_module
from holdfast.engine.data.blobs import open_storage
from holdfast.engine.data.s3 import S3Storage
from holdfast.errors import InvalidConfiguration, Unavailable

PAYLOAD = Payload(metadata={"encoding": b"json/plain"}, data=b"x" * 50_000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"blobs-{uuid.uuid4()}"  # the server is shared
    boto3.client("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return f"s3://{name}/holdfast/prod"


async def test_payloads_are_objects_below_the_prefix_named_by_hash(bucket: str) -> None:
    storage = open_storage(bucket)
    claims = await storage.store(StorageDriverStoreContext(), [PAYLOAD, PAYLOAD, Payload(data=b"other")])
    assert claims[0] == claims[1]
    sha256 = claims[0].claim_data["sha256"]
    keys = {
        item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket=urlsplit(bucket).netloc)["Contents"]
    }
    assert len(keys) == 2
    assert f"holdfast/prod/{sha256[:2]}/{sha256}" in keys
    assert await storage.retrieve(StorageDriverRetrieveContext(), claims) == [
        PAYLOAD,
        PAYLOAD,
        Payload(data=b"other"),
    ]


async def test_a_young_blob_is_not_sent_again_and_an_old_one_is_refreshed(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = S3Storage.open(bucket)
    sent: list[str] = []
    client = storage._client
    client.meta.events.register("before-call.s3.PutObject", lambda **_: sent.append("put"))
    for _ in range(3):
        await storage.store(StorageDriverStoreContext(), [PAYLOAD])
    assert sent == ["put"]
    monkeypatch.setattr(s3_module, "_REFRESH_AFTER", timedelta(0))
    await storage.store(StorageDriverStoreContext(), [PAYLOAD])
    assert sent == ["put", "put"]


def test_a_missing_or_damaged_blob_is_named(bucket: str) -> None:
    storage = open_storage(bucket)
    sha256 = storage.put(PAYLOAD)
    with pytest.raises(Unavailable, match=f"{'0' * 64} is not in {bucket}"):
        storage.get("0" * 64)
    boto3.client("s3").put_object(
        Bucket=urlsplit(bucket).netloc, Key=f"holdfast/prod/{sha256[:2]}/{sha256}", Body=b"?"
    )
    with pytest.raises(Unavailable, match="damaged"):
        storage.get(sha256)


def test_a_missing_bucket_is_not_a_missing_blob(bucket: str) -> None:
    del bucket
    storage = open_storage("s3://nowhere")
    for work in (lambda: storage.put(PAYLOAD), lambda: storage.get("0" * 64)):
        with pytest.raises(Unavailable, match="NoSuchBucket"):
            work()


def test_a_missing_region_or_bucket_name_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "not a region")
    for location in ("s3://blobs", "s3:///prefix"):
        with pytest.raises(InvalidConfiguration, match="s3://"):
            open_storage(location)
