"""Bodies without their `Content-Encoding`, in pieces: what unpacks to a thousand times its size takes no memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from holdfast.errors import InvalidInput, Unavailable

ACCEPTED: Final = "gzip, deflate"
"""For `Accept-Encoding`."""

_PIECE_BYTES: Final = 64 * 1024
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class Decoder:
    """Takes a body's raw bytes as they come, and gives the decoded ones.

    Args:
        encoding: The value of `Content-Encoding`.

    Raises:
        InvalidInput: An encoding that was not asked for.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower().removeprefix("x-")
        if name not in ("", "identity", "gzip", "deflate"):
            raise InvalidInput(
                f"the answer has Content-Encoding {encoding[:80]!r}; {ACCEPTED} were asked for, and are understood"
            )
        self.packed = name in ("gzip", "deflate")
        self._unpack: Any = None
        self._done = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes, in pieces of at most 64 KiB.

        Raises:
            Unavailable: The data is damaged.
        """
        if not self.packed:
            yield data
            return
        try:
            while data and not self._done:
                unpack = self._unpack = self._unpack or zlib.decompressobj(_bits(data))
                piece = unpack.decompress(data, _PIECE_BYTES)
                if piece:
                    yield piece
                data = unpack.unconsumed_tail
                if unpack.eof:
                    data, self._unpack = unpack.unused_data, None
                    self._done = not data.startswith(b"\x1f\x8b")  # gzip may have several members
        except zlib.error as error:
            raise Unavailable(f"the answer's body is damaged: {error}") from None

    def finish(self) -> None:
        """To be called at the end of the body.

        Raises:
            Unavailable: It ended too early.
        """
        if self._unpack is not None:
            raise Unavailable("the answer's body ended too early: its compression is not complete")


def _bits(data: bytes) -> int:
    """How a body begins decides how it is packed: some servers mean raw deflate by `deflate`."""
    has_header = data[0] == 0x1F or (
        data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] * 256 + data[1]) % 31 == 0)
    )
    return _GZIP_OR_ZLIB if has_header else -zlib.MAX_WBITS
