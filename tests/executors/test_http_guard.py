"""Where the http executor goes: to public addresses, and to what the allow-list names, whatever a URL looks like."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from holdfast import InvalidConfiguration, NotAllowed
from holdfast_executors.http_guard import Guard, ask_system, parse_allowed, plain, why_not

from .http_attempts import attempt, guarded, output, postponed, refused
from .http_service import always, by_path, reply, serving

PUBLIC = "93.184.215.14"


def answering(*answers: Sequence[str]) -> tuple[list[str], Guard]:
    """A guard whose name service gives one answer after the other, and what it was asked."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return asked, Guard((), resolve)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ],
)
def test_what_is_not_public_is_refused_in_every_clothing(address: str) -> None:
    assert why_not(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700::1111"]
)
def test_what_is_public_is_not(address: str) -> None:
    assert why_not(ip_address(address)) is None


def test_a_public_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        """As on a machine that has every address."""

    monkeypatch.setattr(socket.socket, "bind", bind)
    assert why_not(ip_address(PUBLIC)) == "this machine's own"


def test_an_ipv4_address_is_found_in_its_ipv6_clothes() -> None:
    assert str(plain(ip_address("::ffff:10.0.0.1"))) == "10.0.0.1"
    assert str(plain(ip_address("64:ff9b::10.0.0.1"))) == "10.0.0.1"


async def test_only_the_public_ones_of_several_addresses_are_connected_to() -> None:
    _, guard = answering(["10.0.0.1", PUBLIC, "::1"])
    assert await guard.addresses("mixed.test", 80) == [PUBLIC]


async def test_a_name_without_addresses_is_no_refusal() -> None:
    _, guard = answering([])
    with pytest.raises(OSError, match=r"nowhere\.test has no address"):
        await guard.addresses("nowhere.test", 80)


async def test_a_refusal_says_what_was_found_and_how_it_is_allowed() -> None:
    _, guard = answering(["10.0.0.1", "::1"])
    with pytest.raises(NotAllowed) as refusal:
        await guard.addresses("crm.test", 8443)
    assert refusal.value.message == (
        "the http executor does not connect to crm.test:8443, which is 10.0.0.1 (private), ::1 (loopback): only "
        "public addresses are reached. If this one is meant, add crm.test:8443 to HOLDFAST_HTTP_ALLOW where the "
        "worker runs"
    )


@pytest.mark.parametrize(
    ("host", "found", "entry"),
    [
        ("::1", "::1", "[::1]:8080"),
        ("127.1", "127.0.0.1", "127.0.0.1:8080"),
        ("2130706433", "127.0.0.1", "127.0.0.1:8080"),
        ("0x7f.1", "127.0.0.1", "127.0.0.1:8080"),
        ("0", "0.0.0.0", "0.0.0.0:8080"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1:8080"),
        ("localhost", "::1", "localhost:8080"),
        ("my-pc.lan", "10.0.0.7", "my-pc.lan:8080"),
    ],
)
async def test_what_a_refusal_says_to_add_lets_it_through(host: str, found: str, entry: str) -> None:
    async def resolve(name: str, port: int) -> Sequence[str]:
        return [found]

    with pytest.raises(NotAllowed, match=re.escape(f"add {entry} to HOLDFAST_HTTP_ALLOW")):
        await Guard(resolve=resolve).addresses(host, 8080)
    assert await Guard(parse_allowed(entry), resolve).addresses(host, 8080) == [str(ip_address(found))]


@pytest.mark.parametrize(
    "url",
    ["http://me:canary-word@127.0.0.1/", "http://me:canary-word@a/?x=@", "ftp://canary-word@a#@"],
)
async def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    said = await refused({"url": url})
    assert "//***@" in said
    assert "canary-word" not in said


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0177.0x0.0.1",
        "127.000.000.001",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1.",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[::1%25lo]",
        "[::1%lo]",
        "[fe80::1%25lo]",
        "\uff11\uff12\uff17.0.0.1",
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\u30020\u30021",
        "localhost%00.example.com",
        "%31%32%37.0.0.1",
    ],
)
async def test_no_spelling_of_an_address_leads_to_this_machine(host: str) -> None:
    async with serving(always(reply("inside"))) as service:
        config = {"url": f"http://{host}:{service.port}/", "timeouts": {"total": "5s"}}
        ended = await attempt(config, client=guarded(allow=""))
        assert ended.error is not None
        # What has no address at all is tried again.
        assert ended.error.non_retryable or "has no address" in ended.error.message
        assert service.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://good.test@127.0.0.1:{port}/",
        "http://good.test:80@127.0.0.1:{port}/",
        "http://good.test%40@127.0.0.1:{port}/",
        "http://@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@good.test/",
        "http://good.test\\@127.0.0.1:{port}/",
        "http://good.test#@127.0.0.1:{port}/",
        "http://good.test?@127.0.0.1:{port}/",
        "http:127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "\thttp://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/\r\nX-Injected: 1",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "gopher://127.0.0.1:{port}/_GET%20/",
        "ftp://127.0.0.1:{port}/",
        "unix:/var/run/docker.sock",
        "data:text/plain,hello",
    ],
)
async def test_a_url_that_reads_in_two_ways_leads_nowhere(url: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        if host == "good.test":
            raise OSError("good.test is not reached in tests")
        return await ask_system(host, port)

    async with serving(always(reply("inside"))) as service:
        config = {"url": url.format(port=service.port)}
        ended = await attempt(config, client=guarded(allow="", resolve=resolve))
        assert ended.error is not None
        assert ended.error.non_retryable or "good.test is not reached" in ended.error.message
        assert service.connections == 0


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """A name whose second answer would lead elsewhere is asked once per connection."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async with (
        serving(always(reply("checked", Connection="close"))) as service,
        serving(always(reply("elsewhere")), host="127.0.0.2", port=service.port) as other,
    ):
        url = f"http://changing.test:{service.port}/"
        found = await output({"url": url}, client=guarded(resolve=resolve))
        assert found["body"] == "checked"
        assert (asked, service.asked[0].headers["host"]) == (
            ["changing.test"],
            f"changing.test:{service.port}",
        )
        assert "127.0.0.2 (loopback)" in await refused({"url": url}, client=guarded(resolve=resolve))
        assert (service.connections, other.connections) == (1, 0)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/latest/",
        "http://168.63.129.16/machine",
        "http://10.0.0.1/",
        "//169.254.169.254/latest",
    ],
)
async def test_a_redirect_to_metadata_is_not_followed(target: str) -> None:
    async with serving(always(reply("", 302, Location=target))) as service:
        said = await refused({"url": service.url})
        assert said.startswith("NotAllowed: the http executor does not connect to")
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("file:///etc/passwd", "scheme is 'file'"),
        ("http://me:word@127.0.0.1/", "credentials"),
        ("ftp://127.0.0.1/", "scheme is 'ftp'"),
        ("javascript:alert(1)", "leads to what is no URL"),
        ("http://[::1", "leads to what is no URL"),
        ("http://a:b:c/", "leads to what is no URL"),
    ],
)
async def test_a_redirect_to_what_is_no_page_is_not_followed(target: str, why: str) -> None:
    async with serving(always(reply("", 302, Location=target))) as service:
        said = await refused({"url": service.url})
        assert why in said
        assert "word" not in said


async def test_each_hop_is_checked_with_its_own_port() -> None:
    async with serving(always(reply("inside"))) as inside:
        answers = {"/a": reply("", 307, Location="/b"), "/b": reply("", 307, Location=inside.url)}
        async with serving(by_path(answers)) as service:
            client = guarded(allow=f"127.0.0.1:{service.port}")
            said = await refused({"url": f"{service.url}/a", "method": "POST", "body": 1}, client=client)
            assert f"127.0.0.1:{inside.port}" in said
            assert [asked.path for asked in service.asked] == ["/a", "/b"]
        assert inside.connections == 0


async def test_a_token_service_is_guarded_too() -> None:
    async with serving(always(reply({"access_token": "t"}))) as inside:
        auth = {"type": "oauth2", "token_url": inside.url, "client_id": "me", "secret": "KEY"}
        client = guarded(allow="127.0.0.1:1")
        said = await refused(
            {"url": "http://127.0.0.1:1", "auth": auth}, client=client, secrets={"KEY": "word"}
        )
        assert said.startswith("NotAllowed:")
        assert inside.connections == 0


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(always(reply("proxied"))) as proxy, serving(always(reply("direct"))) as service:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await output({"url": service.url}))["body"] == "direct"
        assert proxy.connections == 0


@pytest.mark.parametrize(
    ("setting", "url", "reached"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}", True),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}", True),
        ("127.0.0.1:1", "http://127.0.0.1:{port}", False),
        ("127.0.0.0/8", "http://127.0.0.1:{port}", True),
        ("127.0.0.0/8", "http://localhost:{port}", True),
        ("localhost", "http://localhost:{port}", True),
        ("localhost", "http://LOCALHOST:{port}", True),
        ("localhost", "http://127.0.0.1:{port}", False),
        ("Localhost:{port}", "http://localhost:{port}", True),
        ("10.0.0.0/8, crm.test ,127.0.0.1", "http://127.0.0.1:{port}", True),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:{port}", True),
        ("::1", "http://127.0.0.1:{port}", False),
        ("", "http://127.0.0.1:{port}", False),
    ],
)
async def test_the_allow_list_opens_what_it_names(setting: str, url: str, reached: bool) -> None:
    async with serving(always(reply("ok"))) as service:
        client = guarded(allow=setting.format(port=service.port))
        config = {"url": url.format(port=service.port)}
        if reached:
            assert (await output(config, client=client))["body"] == "ok"
        else:
            assert (await refused(config, client=client)).startswith("NotAllowed")


@pytest.mark.parametrize(
    "setting",
    [
        "127.0.0.1:0",
        "localhost:99999",
        "localhost:http",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "[::1",
        "[]:80",
        ":80",
        "300.1.1.1",
    ],
)
def test_an_allow_list_that_cannot_be_read_is_refused(setting: str) -> None:
    with pytest.raises(InvalidConfiguration, match="HOLDFAST_HTTP_ALLOW has"):
        parse_allowed(setting)


async def test_a_slow_name_service_counts_for_the_time_to_connect() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return [PUBLIC]

    config = {"url": "http://slow.test/", "timeouts": {"connect": "200ms"}}
    assert "no connection after 0.2 s" in await postponed(config, client=guarded(resolve=resolve))
