"""Blobs in S3 or anything that speaks its protocol.

Temporal's own S3 driver puts bucket and key into every claim and scopes keys by run. Here a claim is only a
hash: it can reach nothing outside the configured prefix, runs share blobs, and blobs can be copied elsewhere.
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from holdfast.engine.data.blobs import ContentStorage
from holdfast.errors import InvalidConfiguration, Unavailable

_REFRESH_AFTER = timedelta(hours=12)


class S3Storage(ContentStorage):
    """Blobs as objects `<prefix>/<first two hex digits>/<sha256>` of a bucket.

    Args:
        client: A boto3 S3 client.
        bucket: The bucket's name; it must exist.
        prefix: Put before every key, without slashes at its ends.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        super().__init__(f"s3://{bucket}/{prefix}".rstrip("/"))
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._errors: tuple[type[Exception], ...] = (
            importlib.import_module("botocore.exceptions").BotoCoreError,
            importlib.import_module("botocore.exceptions").ClientError,
        )

    @classmethod
    def open(cls, location: str) -> S3Storage:
        """Open `s3://bucket/prefix` with boto3's own configuration (environment, files, instance role).

        Raises:
            InvalidConfiguration: boto3 is not installed, is not configured, or the location names no bucket.
        """
        try:
            boto3: Any = importlib.import_module("boto3")
            config: Any = importlib.import_module("botocore.config")
            exceptions: Any = importlib.import_module("botocore.exceptions")
        except ImportError as error:
            raise InvalidConfiguration(
                f"Storage {location!r} needs boto3: pip install 'holdfast[s3]'"
            ) from error
        parts = urlsplit(location)
        if not parts.netloc:
            raise InvalidConfiguration(f"Storage {location!r} names no bucket; write `s3://bucket/prefix`.")
        # Blobs prove themselves by their hash, and some compatible servers refuse boto3's own checksums.
        options = config.Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "max_attempts": 4},
        )
        try:
            client = boto3.client("s3", config=options)
        except exceptions.BotoCoreError as error:
            raise InvalidConfiguration(f"boto3 cannot open {location!r}: {error}") from error
        return cls(client, parts.netloc, parts.path.strip("/"))

    def _write(self, sha256: str, data: bytes | BinaryIO, size_bytes: int) -> None:
        key = self._key(sha256)
        try:
            if not self._is_fresh(key, size_bytes):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        except self._errors as error:
            raise self._unavailable("written", sha256, error) from error

    def _read(self, sha256: str) -> bytes:
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(sha256))["Body"].read()
        except self._errors as error:
            if _status(error) == 404 and _code(error) != "NoSuchBucket":
                raise self.missing(sha256) from None
            raise self._unavailable("read", sha256, error) from error
        return body

    def _is_fresh(self, key: str, size_bytes: int) -> bool:
        """Whether the object is there and young enough that no lifecycle rule is about to delete it."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        except self._errors as error:
            if _status(error) in {403, 404}:  # 403: no permission to list, S3's other way to say "not there"
                return False
            raise
        young: bool = datetime.now(UTC) - found["LastModified"] < _REFRESH_AFTER
        return young and found["ContentLength"] == size_bytes

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}{sha256[:2]}/{sha256}"

    def _unavailable(self, done: str, sha256: str, error: Exception) -> Unavailable:
        return Unavailable(f"Blob {sha256} cannot be {done} in {self.location}: {error}", sha256=sha256)


def _status(error: Exception) -> int:
    response: Any = getattr(error, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: Exception) -> str:
    response: Any = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
