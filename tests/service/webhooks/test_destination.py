"""Where webhooks may go: the public network by https, and what the machine's owner listed."""

import pytest

from nearnorm.service.webhooks.destination import RefusedDestination, addresses, read_destination
from nearnorm.service.webhooks.sender import Sender
from tests.service.webhooks.receiver import receiving

PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1"),  # noqa: S104
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    *("224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "192.88.99.1"),
    *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::808:808", "2002:7f00:1::", "2002:808:808::", "2001::1", "5f00::1", "100::1"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_way_of_writing_a_private_address_leads_there(address: str) -> None:
    written = f"[{address}]" if ":" in address else address
    with pytest.raises(RefusedDestination, match="NEARNORM_WEBHOOK_HOSTS"):
        read_destination(f"https://{written}/hook", ())
    named = read_destination("https://hooks.example.com/hook", ())
    for found in ([address], ["8.8.8.8", address], [address, "8.8.8.8"]):
        with pytest.raises(RefusedDestination, match="not of the public network"):
            addresses(named, lambda *_, found=found: found)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_sent_to(address: str) -> None:
    written = f"[{address}]" if ":" in address else address
    where = read_destination(f"https://{written}:8443/a?b=c", ())
    assert (where.host, where.port, where.target) == (address, 8443, "/a?b=c")
    assert addresses(where, lambda host, _: [host]) == [address]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/", "https://"),
        ("ftp://hooks.example.com/", "https://"),
        ("https:///hook", "a host"),
        ("hooks.example.com", "a host"),
        ("https://ann:secret@hooks.example.com/", "no name and password"),
        ("https://@hooks.example.com/", "no name and password"),
        ("https://hooks.example.com/#part", "behind #"),
        ("https://hooks.example.com:0/", "port"),
        ("https://hooks.example.com:99999/", "no address"),
        ("https://hooks.example.com /", "ASCII"),
        ("https://hooks.example.com/\r\nX: y", "ASCII"),
        ("https://h\u00f6oks.example.com/", "xn--"),
        ("https://hooks.example.com\\@127.0.0.1/", "ASCII"),
        ("https://2130706433/", "neither a name nor an address"),
        ("https://0x7f000001/", "neither a name nor an address"),
        ("https://127.1/", "neither a name nor an address"),
        ("https://0177.0.0.1/", "neither a name nor an address"),
        ("https://[::1/", "no address"),
        ("https://[fe80::1%25eth0]/", "not of the public network|neither"),
        ("https://" + "a" * 2_000, "2,000 characters"),
        ("https://-a.example.com/", "neither a name nor an address"),
    ],
)
def test_what_is_no_plain_https_address_is_refused_in_a_sentence(url: str, why: str) -> None:
    with pytest.raises(RefusedDestination, match=why):
        read_destination(url, ())


def test_a_listed_host_may_be_private_and_plain_by_its_port_or_by_all() -> None:
    assert read_destination("http://alerts:9093/x", {"alerts"}).authority == "alerts:9093"
    assert addresses(read_destination("http://alerts:9093/x", {"alerts:9093"}), lambda *_: ["10.0.0.1"])
    assert read_destination("http://[::1]:9093/", {"[::1]:9093"}).authority == "[::1]:9093"
    with pytest.raises(RefusedDestination, match="NEARNORM_WEBHOOK_HOSTS"):
        read_destination("http://alerts:9094/x", {"alerts:9093"})
    with pytest.raises(RefusedDestination, match="NEARNORM_WEBHOOK_HOSTS"):
        read_destination("http://alerts.evil.example/x", {"alerts"})


def test_a_name_that_changes_between_two_messages_leads_nowhere_private() -> None:
    """DNS rebinding: public when it was looked at, and loopback when it counts."""
    with receiving() as receiver:
        where = read_destination(f"https://rebind.example.com:{receiver.port}/hook", ())
        assert addresses(where, lambda *_: ["8.8.8.8"]) == ["8.8.8.8"]
        attempt = Sender(lambda *_: ["127.0.0.1"]).post(where, b"{}", {})
        assert attempt.problem is not None
        assert "not of the public network" in attempt.problem
        assert receiver.received == []


def test_the_connection_goes_to_what_was_checked_without_a_second_look() -> None:
    answers = [["127.0.0.1"], ["192.0.2.1"]]
    with receiving() as receiver:
        where = read_destination(f"http://alerts.internal:{receiver.port}/hook", {"alerts.internal"})
        sender = Sender(lambda *_: answers.pop(0))
        assert sender.post(where, b"{}", {}).status == 200
    assert len(answers) == 1
    assert receiver.received[0].headers["host"] == f"alerts.internal:{receiver.port}"
