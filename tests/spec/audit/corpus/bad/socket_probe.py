"""A probe by hand, with names imported in odd ways."""

import socket as net
import urllib.request
from urllib.request import urlopen as fetch

from holdfast import workflow


@workflow
async def probe(host: str) -> bool:
    with net.create_connection((host, 80), timeout=1):  # expect: HF-A022
        page = urllib.request.urlopen(f"http://{host}").read()  # expect: HF-A022
    opener = fetch
    return bool(page and opener(f"http://{host}/again"))  # expect: HF-A022
