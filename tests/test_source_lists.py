"""Lists of servers: what they may look like, and what is said of those that are no lists."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.server import Member
from lbtwist.sources.lists import MOST, BadList, membersOf


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("", ()),
        ("\n# nobody\n   \n", ()),
        ("10.0.0.1:80\n", (Member("10.0.0.1", 80),)),
        ("10.0.0.1:80", (Member("10.0.0.1", 80),)),
        (
            "10.0.0.1:80 weight=5  # the large one\r\n\r\n [2001:DB8::1]:81\tbackup name=b\n",
            (Member("10.0.0.1", 80, weight=5), Member("2001:db8::1", 81, priority=1, name="b")),
        ),
        ("App.Example:80 weight=0\n", (Member("app.example", 80, weight=0),)),
        ("\ufeff10.0.0.1:80\n", (Member("10.0.0.1", 80),)),
        ("[::1]:80\n[fe80::1%eth0]:80\n", (Member("::1", 80), Member("fe80::1%eth0", 80))),
        ("[]", ()),
        ('\ufeff[{"address": "[::1]:80"}]', (Member("::1", 80),)),
        (' \n[{"address": "10.0.0.1:80"}]', (Member("10.0.0.1", 80),)),
        (
            '[{"host": "2001:db8::1", "port": 80, "weight": 256, "backup": true, "name": "a"},'
            ' {"host": "app.example", "port": 81, "weight": null, "backup": false}]',
            (
                Member("2001:db8::1", 80, weight=256, priority=1, name="a"),
                Member("app.example", 81),
            ),
        ),
    ],
)
def test_good(text, members):
    assert membersOf(text) == members


def test_socketsOfThisMachine():
    """Are named by its own files alone: elsewhere somebody might name Docker's."""
    assert membersOf("unix:/run/a name=a\n", local=True) == (Member(path="/run/a", name="a"),)
    assert membersOf('[{"address": "unix:/run/a"}]', local=True) == (Member(path="/run/a"),)
    for text in ("unix:/run/a", '[{"address": "unix:/run/a"}]'):
        with pytest.raises(BadList, match="cannot name sockets of this machine"):
            membersOf(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.1", "line 1: '10.0.0.1' has no port: write 10.0.0.1:PORT"),
        ("\n#\n10.0.0.1:x", "line 3: port: 'x' is not a whole number"),
        ("10.0.0.1:0", "line 1: port: 0 is out of bounds: from 1 to 65535 is accepted"),
        ("10.0.0:80", "line 1: '10.0.0' is not an IPv4 address"),
        ("a..b:80", "line 1: 'a..b' is neither an address nor a host name"),
        ("a:80 weight=257", "line 1: 257 is out of bounds: from 0 to 256 is accepted"),
        ("a:80 weight", "line 1: 'weight' is not accepted: write weight=, name= or backup"),
        ("a:80 weight=1 weight=1", "line 1: 'weight=1' is not accepted: write weight="),
        ("a:80 host=b", "line 1: 'host=b' is not accepted"),
        ("a:80 b:80", "line 1: 'b:80' is not accepted"),
        ("a:80 backup=no", "line 1: 'backup=no': backup stands alone"),
        ("a:80 wieght=1", "line 1: unknown 'wieght', did you mean 'weight'?"),
        ("unix:a", "line 1: 'unix:a' is not the whole path of a UNIX socket: unix:/PATH"),
        ("unix:/a\0b", "line 1: 'unix:/a\\x00b' is not the whole path"),
        ("a:80\n" * (MOST + 1), f"it has more than {MOST} servers"),
        ("[", "it is not JSON: Expecting value: line 1 column 2"),
        ("[" * 100000, "it is not JSON: maximum recursion depth"),
        ('[{"port":' + "1" * 5000 + "}]", "it is not JSON: Exceeds the limit"),
        ("[7]", "line 1: '7' is not an IPv6 address"),
        ("[7", "line 1: '[7' is not an address: write [ADDRESS]:PORT"),
        ("{}", "its JSON is not a list of objects"),
        ('["a:80"]', "server 1 of the list: it is not an object, as"),
        ("[null]", 'server 1 of the list: it is not an object, as {"address": "10.0.0.1:80"} is'),
        ("[{}]", 'server 1 of the list: it needs "address": "HOST:PORT", or "host"'),
        ('[{"address": 7}]', 'server 1 of the list: "address" is text: "HOST:PORT"'),
        ('[{"address": "a:80"}, {"address": "a"}]', "server 2 of the list: 'a' has no port"),
        ('[{"address": "a:80", "port": 80}]', "server 1 of the list: address stands in place"),
        ('[{"host": "a", "port": "80"}]', 'server 1 of the list: it needs "address"'),
        ('[{"host": "a", "port": true}]', 'server 1 of the list: it needs "address"'),
        ('[{"host": "a", "port": 80.5}]', 'server 1 of the list: it needs "address"'),
        ('[{"host": "a", "port": 99999}]', "server 1 of the list: port: 99999 is out of bounds"),
        ('[{"host": "a]:1", "port": 80}]', "server 1 of the list: "),
        ('[{"host": "%s", "port": 80}]' % ("a" * 301), "server 1 of the list: its address is lon"),
        ('[{"address": "a:80", "weight": "1"}]', "server 1 of the list: weight: a whole number"),
        ('[{"address": "a:80", "weight": true}]', "server 1 of the list: weight: a whole number"),
        ('[{"address": "a:80", "weight": NaN}]', "server 1 of the list: weight: a whole number"),
        ('[{"address": "a:80", "weight": 1e9}]', "server 1 of the list: weight: a whole number"),
        ('[{"address": "a:80", "backup": 1}]', "server 1 of the list: backup: true or false"),
        ('[{"address": "a:80", "name": 1}]', "server 1 of the list: name: text is accepted"),
        ('[{"address": "a:80", "wieght": 1}]', "server 1 of the list: unknown 'wieght', did"),
        ("[%s]" % ",".join(["{}"] * (MOST + 1)), f"it has more than {MOST} servers"),
    ],
    ids=lambda value: value[:40],
)
def test_bad(text, reason):
    with pytest.raises(BadList) as raised:
        membersOf(text, local=True)
    assert str(raised.value).startswith(reason)


@given(st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some) | st.dictionaries(
        st.sampled_from(["address", "host", "port", "weight", "backup", "name"]) | st.text(), some
    ),
).map(json.dumps))  # fmt: skip
def test_anythingIsReadOrRefused(text):
    try:
        found = membersOf(text)
    except BadList as wrong:
        assert str(wrong)
    else:
        assert all(isinstance(one, Member) for one in found)
