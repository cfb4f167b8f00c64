"""Which addresses webhooks may go to, in every form in which they can be written."""

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from shared.notifications.addresses import AddressPolicy, BadAddress, is_public
from shared.notifications.webhook import send

PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3",  # noqa: S104
    "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "192.88.99.1", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "fe80::1", "fc00::1", "fd12:3456::1", "fec0::1",
    "ff02::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:0:7f00:1::1", "100::1",
]  # fmt: skip
#: 127.0.0.1 and others, as a resolver reads them: octal, hexadecimal, short, as one number.
WRITTEN = [
    "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "127.1", "127.0.1", "0", "017700000001",
    "[::1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[fe80::1]", "0xA9FEA9FE",
    "0251.0376.0251.0376", "127.0.0.1.", "0300.0250.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("host", WRITTEN)
def test_a_private_address_is_known_however_it_is_written(host: str) -> None:
    with pytest.raises(BadAddress, match="private"):
        AddressPolicy().parse_url(f"https://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "https://", "https:///path", "example.org", "file:///etc/passwd",
        "https://user@example.org/", "https://user:word@example.org/", "https://example.org/#part",
        "https://example.org:0/", "https://example.org:99999/", "https://example.org:http/",
        "https://exa mple.org/", "https://example.org/\r\nHost: other", "https://ex\\ample.org/",
        "https://ünder.example/", "https://example.org/ü", "https://[::1", "https://a%2eb/",
        "javascript:alert(1)", "https://[fe80::1%25eth0]/", "https://example.org/" + "x" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_webhook(url: str) -> None:
    with pytest.raises(BadAddress):
        AddressPolicy().parse_url(url)


def test_a_public_address_needs_tls() -> None:
    for policy in (AddressPolicy(), AddressPolicy.parse(["10.0.0.0/8"])):
        with pytest.raises(BadAddress, match="https"):
            policy.parse_url("http://1.1.1.1/hook")
        assert policy.parse_url("https://1.1.1.1/hook").port == 443
    with pytest.raises(BadAddress, match="https"):
        AddressPolicy().parse_url("http://hooks.example/")


def test_what_a_setting_names_is_allowed() -> None:
    policy = AddressPolicy.parse(["127.0.0.0/8", "fd00::/8", "hooks.lab"])
    for url in ("http://127.0.0.1:8000/", "https://[fd00::7]/", "http://2130706433/"):
        assert policy.parse_url(url)
    with pytest.raises(BadAddress, match="QUIRE_WEBHOOK_ALLOW"):
        policy.parse_url("http://10.0.0.1/")
    address = policy.parse_url("http://hooks.lab/")
    policy.check(address, ip_address("10.9.9.9"))
    for entry in ("10.0.0.0/8/8", "300.1.1.1", "https://hooks.lab", "a b", "*"):
        with pytest.raises(ValueError, match="no network and no name"):
            AddressPolicy.parse([entry])


def names(answers: dict[str, list[list[str]]]) -> Any:
    """A resolver: for each name the answers to the first, the second, … question."""
    asked: dict[str, int] = {}

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        turn = asked[host] = asked.get(host, 0) + 1
        found = answers[host][min(turn, len(answers[host])) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    resolve.asked = asked  # type: ignore[attr-defined]
    return resolve


def test_a_name_is_judged_by_the_address_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The resolver stands for a name server of an attacker's; the sockets are real."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    resolver = names({"evil.example": [["127.0.0.1"]], "two.example": [["10.0.0.1", "127.0.0.1"]]})
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    for host in ("evil.example", "two.example"):
        outcome = send(f"https://{host}:{port}/", b"{}", {}, AddressPolicy(), 2.0)
        assert outcome.is_final
        assert "private" in (outcome.error or "")
    assert resolver.asked == {"evil.example": 1, "two.example": 1}
    # Allowed at the first question and private at the second: there is no second one.
    allowed = AddressPolicy.parse(["127.0.0.2/32"])
    rebound = names({"turn.example": [["127.0.0.2"], ["127.0.0.1"]]})
    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    outcome = send(f"http://turn.example:{port}/", b"{}", {}, allowed, 2.0)
    assert outcome.status_code is None
    assert rebound.asked == {"turn.example": 1}
    listener.settimeout(0.1)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()


def test_an_answer_that_drips_is_cut_off() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    policy = AddressPolicy.parse(["127.0.0.1"])
    outcome = send(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {}, policy, 0.5)
    assert outcome.error in ("no answer within 0.5 s", "no answer in time")
    assert not outcome.is_final
    listener.close()
