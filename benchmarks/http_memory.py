"""`python -m benchmarks.http_memory`: by how many MiB the memory of a process grows while it refuses a body of 10 GB.

One line for each way in which the body comes.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import sys

from holdfast import HoldfastError
from holdfast_executors import http
from holdfast_executors.http_content import ResponseType

SIZE_BYTES = 10 * 1024**3
_PIECE = bytes(1024 * 1024)
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}\r\n\r\n"
_WAYS: dict[str, tuple[str, ResponseType]] = {
    "announced": ("/announced", "text"),
    "chunked": ("/chunked", "text"),
    "chunked as bytes": ("/chunked", "bytes"),
    "gzip bomb": ("/bomb", "text"),
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        if path == "/small":
            writer.write(_HEAD.format(kind="text/plain", more="Content-Length: 2").encode() + b"ok")
        elif path == "/bomb":
            member = gzip.compress(bytes(64 * 1024**2))  # several members unpack as one body
            more = f"Content-Encoding: gzip\r\nContent-Length: {len(member) * 160}"
            writer.write(_HEAD.format(kind="text/plain", more=more).encode())
            for _ in range(160):
                writer.write(member)
                await writer.drain()
        else:
            announced = path == "/announced"
            more = f"Content-Length: {SIZE_BYTES}" if announced else "Transfer-Encoding: chunked"
            writer.write(_HEAD.format(kind="text/plain", more=more).encode())
            for _ in range(SIZE_BYTES // len(_PIECE)):
                writer.write(_PIECE if announced else b"100000\r\n" + _PIECE + b"\r\n")
                await writer.drain()
            writer.write(b"" if announced else b"0\r\n\r\n")
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # it was refused
    finally:
        writer.close()


def _peak_kib() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


async def _refuse(url: str, path: str, wanted: ResponseType) -> None:
    await http.get(f"{url}/small")  # everything is imported and connected once
    before = _peak_kib()
    try:
        await http.get(f"{url}{path}", response=wanted)
    except HoldfastError as error:
        if type(error).__name__ != "PayloadTooLarge":
            raise
    else:
        raise AssertionError("it was not refused")
    print(f"{(_peak_kib() - before) / 1024:.1f}")


async def growth_mib() -> dict[str, float]:
    """The growth by the way in which the body comes. Linux only."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    grown: dict[str, float] = {}
    for how, (path, wanted) in _WAYS.items():
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.http_memory", f"http://{host}:{port}", path, wanted),
            env={**os.environ, "HOLDFAST_HTTP_ALLOW": f"{host}:{port}"},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await child.communicate()
        if child.returncode != 0:
            raise RuntimeError(f"refusing {how} ended with exit code {child.returncode}")
        grown[how] = float(said)
    server.close()
    return grown


async def _main() -> None:
    for how, mib in (await growth_mib()).items():
        print(f"{how} {mib}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        asyncio.run(_main())
    else:
        url, path, wanted = sys.argv[1:]
        asyncio.run(_refuse(url, path, "bytes" if wanted == "bytes" else "text"))
