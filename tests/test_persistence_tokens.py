"""What the values of cookies mean, and that no client can make one."""

import base64
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.persistence.tokens import Said, Tokens
from lbtwist.testing import makeServers

SECRET = b"a secret that nobody knows"
FIRST, LAST = 1_700_000_000, 1_700_003_600


def tokens(*servers, secret=SECRET, plain=False):
    found = Tokens(secret, plain)
    found.setServers(servers or makeServers(1, 1, 1))
    return found


OPAQUE, PLAIN = tokens(), tokens(plain=True)
MADE = [
    value
    for name in "abc"
    for value in (OPAQUE.value(name), OPAQUE.value(name, FIRST, LAST), OPAQUE.value(name, 0, LAST))
]


def of(pool, *, cookie="", names="abc"):
    """@return: servers of a pool, the first of which has C{cookie=}."""
    servers = makeServers(*[1] * len(names))
    for server, name in zip(servers, names, strict=True):
        server.pool, server.name, server.key = pool, name, f"{pool}/{name}"
    servers[0].options = SimpleNamespace(cookie=cookie)
    return servers


# values


@pytest.mark.parametrize("made", [OPAQUE, PLAIN])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (FIRST, 0), (0, LAST), (FIRST, LAST)])
def test_whatWasWrittenIsRead(made, first, last):
    assert made.read(made.value("b", first, last)) == Said("b", first, last)


@pytest.mark.parametrize("made", [OPAQUE, PLAIN])
@given(seconds=st.integers(1, 4 * (1 << 30) - 4))
def test_datesAreRoundedUpToFourSeconds(made, seconds):
    """A date is never earlier than what it says."""
    said = made.read(made.value("a", seconds, seconds))
    assert said.first == said.last
    assert 0 <= said.first - seconds < 4


def test_plainValues():
    """What C{cookie=} says, or else the name."""
    made = tokens(*of("app", cookie="s1"), plain=True)
    assert (made.value("a"), made.value("b")) == (b"s1", b"b")
    assert made.read(b"s1") == Said("a")
    assert made.read(b"a") is None


def test_ofSeveralServersOfOneValueTheFirstCounts():
    made = tokens(*of("app", cookie="b"), plain=True)
    assert made.value("a") == made.value("b") == b"b"
    assert made.read(b"b") == Said("a")


def test_valuesFitIntoACookie():
    """RFC 6265, section 4.1.1: cookie-octet; and neither of our own signs."""
    for value in MADE:
        assert value.isascii() and not set(value) & set(b' ",;\\~|=')
        assert len(value) in (16, 42)


def test_aServerThatIsNotThereHasNoValue():
    assert OPAQUE.value("z") == b""
    assert OPAQUE.read(b"") is None


def test_serversComeAndGo():
    a, b, c = makeServers(1, 1, 1)
    made = tokens(a, b)
    value = made.value("b")
    made.setServers([a, c])
    assert made.read(value) is None
    made.setServers([c, b])
    assert made.read(value) == Said("b")


# clients that would like to make one


def test_valuesDoNotSayWhichServerItIs():
    for value in MADE:
        raw = base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
        for word in (b"app", b"127.0.0.1", b"app/a"):
            assert word not in raw and word not in value
    assert len({value[:16] for value in MADE}) == 3


@given(value=st.binary(max_size=100) | st.text("ABCxyz019-_", max_size=48).map(str.encode))
def test_nobodyGuessesOne(value):
    assert OPAQUE.read(value) is None or value in MADE


@given(made=st.sampled_from(MADE), at=st.integers(0, 41), letter=st.integers(0, 255))
def test_nothingOfItCanBeChanged(made, at, letter):
    forged = bytearray(made)
    forged[at % len(made)] = letter
    assert OPAQUE.read(bytes(forged)) is None or bytes(forged) == made


@pytest.mark.parametrize("made", MADE)
def test_cutAndLengthened(made):
    """The only part of a value that is one is its server, without the dates."""
    for length in range(len(made)):
        cut = made[:length]
        assert OPAQUE.read(cut) == (None if length != 16 else OPAQUE.read(made[:16]))
        assert OPAQUE.read(made[length:][1:]) is None
    for more in (b"A", b"=", b"|", b"AAAAA", b"A" * 26, made):
        assert OPAQUE.read(made + more) is None
        assert OPAQUE.read(more + made) is None


def test_datesOfAnotherValue():
    """Neither those of another server nor others of the same."""
    a, b = OPAQUE.value("a", FIRST, LAST), OPAQUE.value("b", FIRST, LAST)
    later = OPAQUE.value("a", FIRST, LAST + 3600)
    assert OPAQUE.read(a[:16] + b[16:]) is None
    assert OPAQUE.read(a[:16] + later[16:26] + a[26:]) is None
    assert OPAQUE.read(a[:16] + a[21:26] + a[16:21] + a[26:]) is None, "first and last"
    assert OPAQUE.read(later) == Said("a", FIRST, LAST + 3600)


def test_theValueOfAnotherPool():
    """Whose servers have the same names, with the same secret."""
    other = tokens(*of("chat"))
    for value in (OPAQUE.value("a"), OPAQUE.value("a", FIRST, LAST)):
        assert tokens(*of("app")).read(value)
        assert other.read(value) is None


def test_aValueIsNoMac():
    """One that says a server is never taken for one that says dates, or the reverse."""
    servers = of("app")
    servers[0].key = (OPAQUE.value("b") + OPAQUE.value("b", FIRST, LAST)[16:26]).decode()
    made = tokens(*servers)
    dates = made.value("b", FIRST, LAST)[16:26]
    assert made.read(OPAQUE.value("b") + dates + made.value("a")) is None


def test_anotherSecretIsAnotherBalancer():
    other = tokens(secret=b"another one")
    assert [other.read(value) for value in MADE] == [None] * len(MADE)
    same = tokens()
    assert [same.read(value) for value in MADE] == [OPAQUE.read(value) for value in MADE]


def test_plainValuesAreNobodysSecret():
    """Whoever wants them to be trusted does not write C{plain}."""
    assert PLAIN.read(b"c|" + PLAIN.value("a", FIRST, LAST)[2:]) == Said("c", FIRST, LAST)


@pytest.mark.parametrize(
    "value",
    [b"a|", b"a|AAAA", b"a|AAAAAAAAAAA", b"a|AAAAAAAAA ", b"a|AAAAA|AAAAA", b"|AAAAAAAAAA",
     b"a|AAAAA+AAAA", b"A", b"a ", b"z|AAAAAAAAAA", b"\xff", b"a\n"],
)  # fmt: skip
def test_plainValuesThatAreNone(value):
    assert PLAIN.read(value) is None
