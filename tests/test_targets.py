"""
Where CONNECT may lead to: L{lbtwist.config.targets}.
"""

import pytest

from lbtwist.config.targets import SPECIAL, Targets, mayLead, namedItself, permitted, plain

ANYTHING = "*:*, 0.0.0.0/0:*, [::/0]:*"

FORBIDDEN = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "100.100.100.200",
    "168.63.129.16", "192.0.0.192",
    "::", "::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
    # The same in IPv6's clothes.
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b:1::7f00:1",
]  # fmt: skip

ALLOWED = [
    "10.0.0.1", "192.168.1.1", "172.16.0.1", "93.184.216.34", "1.0.0.1", "126.255.255.255",
    "128.0.0.1", "169.253.255.255", "223.255.255.255", "2001:db8::1", "fd00::1",
    "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8",
]  # fmt: skip


def targets(text):
    return Targets().parse(text)


def may(text, address, port=443, host=""):
    return permitted(targets(text), host, plain(address), port)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_whatIsNeverAllowedByTheWay(address):
    for text in (ANYTHING, "*:443", "*.example.com:443, 0.0.0.0/1:*, 128.0.0.0/1:*"):
        assert not may(text, address)
        assert not may(text, address, host="www.example.com")


@pytest.mark.parametrize("address", FORBIDDEN)
def test_whatIsNamedItselfIsAllowed(address):
    found = plain(address)
    literal = f"[{found}]:443" if found.version == 6 else f"{found}:443"
    assert may(literal, address)
    assert not may(literal, address, 80)
    assert may(f"*:443, {literal}", address, host="www.example.com")


@pytest.mark.parametrize("address", ALLOWED)
def test_whatTheUsualFormsAllow(address):
    assert may("*:443", address)
    assert may("www.example.com:443", address, host="www.example.com")
    assert not may("www.example.com:443", address)


def test_aNetworkThatIsSpecialItselfNamesWhatIsInIt():
    assert may("127.0.0.0/8:8080", "127.0.0.5", 8080)
    assert may("127.0.0.0/30:8080", "127.0.0.1", 8080)
    assert not may("126.0.0.0/7:8080", "127.0.0.1", 8080)
    assert may("169.254.0.0/16:80", "169.254.1.1", 80)
    # The link is named, the address that gives away secrets is not.
    assert not may("169.254.0.0/16:80", "169.254.169.254", 80)
    assert may("[fe80::/10]:80", "fe80::1", 80)
    assert not may("[fc00::/7]:80", "fd00:ec2::254", 80)


def test_everySpecialNetworkIsClosedToAllWiderOnes():
    for network in SPECIAL:
        literal = f"[{network}]" if network.version == 6 else str(network)
        address = str(network.network_address)
        wider = network.supernet()
        widely = f"[{wider}]" if network.version == 6 else str(wider)
        assert not may(f"{widely}:443", address)
        inner = all(
            network.version != other.version or network.subnet_of(other) or
            network.network_address not in other for other in SPECIAL
        )  # fmt: skip
        if inner:
            assert may(f"{literal}:443", address)


@pytest.mark.parametrize(
    ("text", "host", "port", "expected"),
    [
        ("example.com:443", "example.com", 443, True),
        ("example.com:443", "www.example.com", 443, False),
        ("example.com:443", "example.com", 444, False),
        ("Example.COM:443", "example.com", 443, True),
        ("*.example.com:443", "a.b.example.com", 443, True),
        ("*.example.com:443", "example.com", 443, False),
        ("*.example.com:443", "www.example.com.evil.test", 443, False),
        ("api-*.example.com:*", "api-7.example.com", 1, True),
        ("*example.com:443", "evilexample.com", 443, True),
        ("a:8000-8010", "a", 8000, True),
        ("a:8000-8010", "a", 8010, True),
        ("a:8000-8010", "a", 8011, False),
        ("a:1 b:2", "b", 2, True),
        ("a:1 b:2", "a", 2, False),
        ("*:443", "anything", 443, True),
        ("10.0.0.0/8:443", "anything", 443, True),
        ("10.0.0.0/8:443", "anything", 80, False),
    ],
)
def test_whatMayBeLookedFor(text, host, port, expected):
    assert mayLead(targets(text), host, port) is expected


def test_aNameInANetworkIsAllowedByItsAddress():
    assert may("10.0.0.0/8:443", "10.1.2.3", host="internal.test")
    assert not may("10.0.0.0/8:443", "11.1.2.3", host="internal.test")


def test_aPatternOfNamesIsNotOneOfAddresses():
    assert not may("*a:443, 1*a:443, *-*:443", "10.0.0.1")


def test_whatIsWrittenDownAsOneAddress():
    ours = plain("10.0.0.1")
    assert namedItself(targets("10.0.0.1:443"), ours, 443)
    assert namedItself(targets("10.0.0.1/32:*"), ours, 443)
    assert not namedItself(targets("10.0.0.1:443"), ours, 80)
    assert not namedItself(targets("10.0.0.0/31:443, *:443"), ours, 443)


def test_whatIsSaidTwiceCountsOnce():
    assert len(targets("a:443, A:443 10.0.0.1:1 10.0.0.1/32:1")) == 2
