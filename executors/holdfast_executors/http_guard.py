"""Which addresses the http executor may reach: public ones, and what the settings allow.

What is checked is what a name resolves to, and exactly that address is connected to: neither another spelling of an
address nor a second answer of the name server leads elsewhere.

Source of the networks: https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 twin.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

from holdfast.errors import InvalidConfiguration, NotAllowed

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host name, as text; raises `OSError` when there are none."""

_NOT_PUBLIC_V4: Final = {
    IPv4Network(network): what
    for network, what in {
        "0.0.0.0/8": "this host",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "shared within a provider",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud platform's own",
        "169.254.0.0/16": "link-local, where clouds keep metadata",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved for protocols",
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "a relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
    }.items()
}
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = {
    IPv6Network("2001::/23"): "reserved for protocols",
    IPv6Network("2001:db8::/32"): "for documentation",
    IPv6Network("2002::/16"): "a tunnel (6to4)",
    IPv6Network("3fff::/20"): "for documentation",
}
_NAME: Final = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z_](?:[a-z0-9_-]*[a-z0-9_])?", re.ASCII)
"""A name in the end of which is no number: what ends with one is an address in some spelling."""

_NAT64: Final = IPv6Network("64:ff9b::/96")


def why_not(address: Address) -> str | None:
    """Why an address is not reached by default; None for one in the public internet."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        what = next((what for network, what in _NOT_PUBLIC_V4.items() if address in network), None)
    elif address not in _PUBLIC_V6:
        what = "loopback" if address.is_loopback else "not public"
    else:
        what = next((what for network, what in _NOT_PUBLIC_V6.items() if address in network), None)
    return what or ("this machine's own" if _is_own(address) else None)


def plain(address: Address) -> Address:
    """An address without the IPv6 clothes that an IPv4 address may wear."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_own(address: Address) -> bool:
    """Whether an interface of this machine has the address: only then may a socket be bound to it."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Allowed:
    """One entry of the allow-list.

    Attributes:
        target: A host name as it stands in URLs, or a network that resolved addresses are looked up in.
        port: None for every port.
    """

    target: str | IPv4Network | IPv6Network
    port: int | None = None

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Whether a connection is allowed by this entry."""
        if self.port not in (None, port):
            return False
        return self.target == host if isinstance(self.target, str) else address in self.target


def parse_allowed(setting: str) -> tuple[Allowed, ...]:
    """The allow-list that a setting states: `localhost:8080, 10.1.0.0/16, [::1]:9000, crm.internal`.

    Raises:
        InvalidConfiguration: An entry is neither a host nor a network, each with or without a port.
    """
    return tuple(_entry(text.strip()) for text in setting.split(",") if text.strip())


def _entry(text: str) -> Allowed:
    host, port = text, None
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        host, port = host if closed else "", rest.removeprefix(":") or None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        number = None if port is None else int(port)
        if not (host and (number is None or 0 < number < 65536)):
            raise ValueError
        if ":" in host or "/" in host or host.replace(".", "").isdecimal():
            return Allowed(ip_network(host), number)
        return Allowed(_name(host), number)
    except ValueError:
        raise InvalidConfiguration(
            f"HOLDFAST_HTTP_ALLOW has {text!r}: write a host or a network, with or without a port, such as "
            "'localhost:8080', '10.1.0.0/16' or '[::1]:9000'"
        ) from None


def _entry_for(host: str, port: int, address: Address) -> str:
    """An entry that allows a host. By name only if it is one: addresses have many spellings."""
    if _NAME.fullmatch(_name(host)):
        return f"{host}:{port}"
    address = plain(address)
    return f"[{address}]:{port}" if isinstance(address, IPv6Address) else f"{address}:{port}"


def _name(host: str) -> str:
    return host.lower().removesuffix(".")


async def ask_system(host: str, port: int) -> list[str]:
    """The addresses of a host, from the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Decides which addresses may be connected to.

    Args:
        allowed: What may be reached besides public addresses.
        resolve: Finds the addresses of a host.
    """

    def __init__(self, allowed: Sequence[Allowed] = (), resolve: Resolve = ask_system) -> None:
        self._allowed = allowed
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to, in the resolver's order.

        Raises:
            NotAllowed: There are addresses, and none may be reached.
            OSError: There are none.
        """
        found = [ip_address(text) for text in await self._resolve(host, port)]
        refused: dict[str, str] = {}
        free: list[str] = []
        for address in found:
            what = self._refusal(host, address, port)
            if what is None:
                free.append(str(address))
            else:
                refused[str(address)] = what
        if free:
            return free
        if not refused:
            raise OSError(f"{host} has no address")
        shown = ", ".join(f"{address} ({what})" for address, what in list(refused.items())[:3])
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise NotAllowed(
            f"the http executor does not connect to {place}, which is {shown}: only public addresses are reached. If "
            f"this one is meant, add {_entry_for(host, port, found[0])} to HOLDFAST_HTTP_ALLOW where the worker runs"
        )

    def _refusal(self, host: str, address: Address, port: int) -> str | None:
        name, bare = _name(host), plain(address)
        if any(entry.covers(name, bare, port) for entry in self._allowed):
            return None
        return why_not(address)
