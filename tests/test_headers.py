"""Header fields in order, lists of tokens, and what a server is told of the client."""

import pytest

from lbtwist.sansio.headers import Fields, Tell, forwardedFor, tokens

BLOCK = b"\nHost: a\r\nx-one:1\r\nX-Two:  2 \r\nX-ONE: 3\r\nEmpty:\r\n"


class TestFields:
    def test_asTheyCame(self):
        fields = Fields(BLOCK)
        assert list(fields) == fields.items() == [
            (b"Host", b"a"), (b"x-one", b"1"), (b"X-Two", b"2"), (b"X-ONE", b"3"), (b"Empty", b""),
        ]  # fmt: skip
        assert len(fields) == 5
        assert fields.block == BLOCK, "looking changes nothing"
        assert repr(Fields(b"\nA: b\r\n")) == "<Fields [(b'A', b'b')]>"

    def test_none(self):
        for fields in (Fields(), Fields(b"\n")):
            assert (fields.items(), len(fields), fields.block) == ([], 0, b"\n")
            assert fields.get(b"a") is None
            assert fields.getAll(b"a") == []

    def test_get(self):
        fields = Fields(BLOCK)
        assert fields.get(b"x-one") == b"3", "the last one counts"
        assert fields.getAll(b"x-one") == [b"1", b"3"]
        assert fields.get(b"empty") == b""
        assert fields.get(b"x") is None

    def test_aColonInAValue(self):
        assert Fields(b"\nA: b: c\r\n").get(b"a") == b"b: c"

    def test_add(self):
        fields = Fields(BLOCK)
        fields.add(b"X-One", b"4")
        assert fields.getAll(b"x-one") == [b"1", b"3", b"4"]
        assert fields.block == (
            b"\nHost: a\r\nx-one: 1\r\nX-Two: 2\r\nX-ONE: 3\r\nEmpty: \r\nX-One: 4\r\n"
        )

    def test_remove(self):
        fields = Fields(BLOCK)
        fields.remove(b"x-one")
        assert [name for name, _ in fields] == [b"Host", b"X-Two", b"Empty"]
        assert fields.block == b"\nHost: a\r\nX-Two: 2\r\nEmpty: \r\n"

    def test_removeWhatIsNotThere(self):
        fields = Fields(BLOCK)
        fields.remove(b"x-on")
        assert fields.block == BLOCK

    @pytest.mark.parametrize("name", [b"x-one", b"x_one"])
    def test_removeAlike(self, name):
        fields = Fields(b"\nX_One: 1\r\nx-one: 2\r\nX-On: 3\r\n")
        fields.removeAlike(name)
        assert fields.block == b"\nX-On: 3\r\n"
        fields.removeAlike(name)
        assert fields.block == b"\nX-On: 3\r\n"

    def test_removeAll(self):
        fields = Fields(b"\nA: b\r\n")
        fields.remove(b"a")
        assert fields.block == b"\n"

    def test_set(self):
        fields = Fields(BLOCK)
        fields.set(b"X-One", b"5")
        assert fields.getAll(b"x-one") == [b"5"]
        assert fields.items()[-1] == (b"X-One", b"5")
        fields.set(b"New", b"6")
        assert fields.get(b"new") == b"6"

    def test_changesAfterEachOther(self):
        fields = Fields()
        fields.add(b"A", b"1")
        assert fields.block == b"\nA: 1\r\n"
        fields.set(b"a", b"2")
        assert fields.block == b"\na: 2\r\n"
        fields.add(b"B", b"3")
        fields.remove(b"a")
        assert fields.block == b"\nB: 3\r\n"

    def test_theBlockReadsAsTheItems(self):
        fields = Fields(BLOCK)
        fields.add(b"Last", b"z")
        assert Fields(fields.block).items() == fields.items()

    @pytest.mark.parametrize(
        ("value", "kept"),
        [(b"a\r\nB: c", b"a  B: c"), (b"\na\0b\r", b"a b"), (b" a\t", b"a"), (b"\xe4", b"\xe4")],
    )
    def test_aValueIsOneLine(self, value, kept):
        """RFC 9110 section 5.5: or a rule could be made to write a second field."""
        for change in (Fields.add, Fields.set):
            fields = Fields()
            change(fields, b"A", value)
            assert fields.items() == Fields(fields.block).items() == [(b"A", kept)]


class TestTokens:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            (b"", []),
            (b" , ,\t", []),
            (b"close", [b"close"]),
            (b"Keep-Alive, UPGRADE", [b"keep-alive", b"upgrade"]),
            (b",a ,,\tb,", [b"a", b"b"]),
            (b"a,a", [b"a", b"a"]),
            (b"!#$%&'*+-.^_`|~9", [b"!#$%&'*+-.^_`|~9"]),
        ],
    )
    def test_lists(self, value, found):
        """RFC 9110 section 5.6.1."""
        assert tokens(value) == found

    @pytest.mark.parametrize("value", [b"a b", b"a, b c", b"a;b", b'"a"', b"a/1", b"\xe4", b"a\0"])
    def test_whatIsNoToken(self, value):
        with pytest.raises(ValueError):
            tokens(value)


@pytest.mark.parametrize(
    ("client", "node"),
    [
        ("192.0.2.1", b"192.0.2.1"),
        ("2001:db8::1", b'"[2001:db8::1]"'),
        ("::ffff:192.0.2.1", b'"[::ffff:192.0.2.1]"'),
        ("fe80::1%eth0", b'"[fe80::1]"'),
        ("unix", b"_unix"),
    ],
)
def test_forwardedFor(client, node):
    """RFC 7239 section 6."""
    assert forwardedFor(client) == node


class TestTell:
    @pytest.mark.parametrize("how", ["x", "rfc7239", "both"])
    def test_namesOfBothKinds(self, how):
        """A server may believe the kind that we do not write."""
        assert set(Tell(how).names) == {
            b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"forwarded"
        }  # fmt: skip

    def test_noNames(self):
        assert Tell("none").names == ()

    def test_xWithoutAZone(self):
        assert b"For: fe80::1\r\n" in Tell("x").lines("fe80::1%eth0", 80, b"http")

    def test_x(self):
        assert Tell("x").lines("2001:db8::1", 8443, b"https") == (
            b"X-Forwarded-For: 2001:db8::1\r\n"
            b"X-Forwarded-Proto: https\r\n"
            b"X-Forwarded-Port: 8443\r\n"
        )

    def test_rfc7239(self):
        assert Tell("rfc7239").lines("192.0.2.1", 80, b"http") == (
            b"Forwarded: for=192.0.2.1;proto=http\r\n"
        )
        assert Tell("rfc7239").lines("2001:db8::1", 80, b"http") == (
            b'Forwarded: for="[2001:db8::1]";proto=http\r\n'
        )

    def test_both(self):
        client = "192.0.2.1", 80, b"http"
        assert Tell("both").lines(*client) == (
            Tell("x").lines(*client) + Tell("rfc7239").lines(*client)
        )

    def test_none(self):
        assert Tell("none").lines("192.0.2.1", 80, b"http") == b""

    def test_aTrustedPeerIsAddedTo(self):
        """Its lists go on; what it says of scheme and port stays."""
        given = Fields(
            b"\nX-Forwarded-For: 198.51.100.7\r\nx-forwarded-proto: https\r\n"
            b"X-Forwarded-Port: 443\r\nForwarded: for=198.51.100.7\r\n"
        )
        assert Tell("both").lines("192.0.2.1", 80, b"http", given) == (
            b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1;proto=http\r\n"
        )

    @pytest.mark.parametrize(
        ("said", "added"),
        [
            (b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 80\r\n"),
            (b"X-Forwarded-Port: 443", b"X-Forwarded-Proto: http\r\n"),
            (b"A: b", b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n"),
        ],
    )
    def test_aTrustedPeerSaysSome(self, said, added):
        given = Fields(b"\n" + said + b"\r\n")
        assert Tell("x").lines("192.0.2.1", 80, b"http", given) == (
            b"X-Forwarded-For: 192.0.2.1\r\n" + added
        )


def test_changedWhereTheyStand():
    fields = Fields(b"\nA: 1\r\nB: 2\r\na: 3\r\n")
    fields.change(b"a", lambda value: None if value == b"1" else value + b"\r\nC: d ")
    assert fields.items() == [(b"A", b"1"), (b"B", b"2"), (b"a", b"3  C: d")]
    assert fields.block == b"\nA: 1\r\nB: 2\r\na: 3  C: d\r\n"


def test_nothingIsChanged():
    """The fields go on as they came."""
    block = b"\nA:1\r\nB:  2\r\n"
    fields = Fields(block)
    fields.change(b"a", lambda value: None)
    fields.change(b"c", lambda value: b"3")
    assert fields.block is block
