"""
ServerHellos as OpenSSL makes them, and made by hand: the version and the session in them,
in whole, in pieces, cut into records of every size, and changed at random.
"""

import ssl
from functools import lru_cache

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.errors import BadServerHello
from lbtwist.sansio.clienthello import TLS10, TLS12, TLS13
from lbtwist.sansio.serverhello import LIMIT, ServerHello, ServerHelloReader
from lbtwist.testing import inPieces


@lru_cache
def flight(version=ssl.TLSVersion.TLSv1_2, tickets=False):
    """
    @return: all that OpenSSL's server says first, and the session that its client has then.
    """
    certificate = trustme.CA().issue_cert("a.example")
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(accepting)
    if not tickets:
        accepting.options |= ssl.OP_NO_TICKET
    connecting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connecting.check_hostname = False
    connecting.verify_mode = ssl.CERT_NONE
    connecting.maximum_version = version
    toServer, toClient = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = accepting.wrap_bio(toServer, toClient, server_side=True)
    client = connecting.wrap_bio(toClient, toServer)
    said = b""
    for step in (client.do_handshake, server.do_handshake) * 2 + (client.do_handshake,):
        try:
            step()
        except ssl.SSLWantReadError:
            pass
        if not said and toClient.pending:
            said = toClient.read()
            toClient.write(said)
    return said, client.session


def vector(width, data):
    return len(data).to_bytes(width, "big") + data


def extension(kind, value=b""):
    return kind.to_bytes(2, "big") + vector(2, value)


def records(message, size=16384, version=b"\3\3"):
    """A handshake message in records of so many bytes."""
    pieces = (message[at : at + size] for at in range(0, len(message), size))
    return b"".join(b"\x16" + version + vector(2, piece) for piece in pieces)


SELECTED = extension(43, b"\3\4")
ID = bytes(range(32))


def message(*extensions, version=b"\3\3", session=ID, more=b"\xc0\x2f\0"):
    body = version + bytes(32) + vector(1, session) + more
    if extensions:
        body += vector(2, b"".join(extensions))
    return b"\2" + vector(3, body)


def read(data):
    return ServerHelloReader().read(data)


def refusal(data):
    with pytest.raises(BadServerHello) as caught:
        read(data)
    return str(caught.value)


CERTIFICATE = b"\x0b" + vector(3, bytes(700))
HELLOS = {
    "OpenSSL's, TLS 1.2": flight()[0],
    "OpenSSL's, TLS 1.2 with tickets": flight(tickets=True)[0],
    "OpenSSL's, TLS 1.3": flight(ssl.TLSVersion.TLSv1_3)[0],
    "alone": records(message()),
    "with what follows in its record": records(message() + CERTIFICATE),
    "without extensions": records(message(version=b"\3\1")),
}
EVERY_HELLO = pytest.mark.parametrize("data", HELLOS.values(), ids=HELLOS)


class TestGood:
    def test_theSessionOfOpenSSL(self):
        """It is what the client keeps."""
        data, session = flight()
        assert len(session.id) == 32
        assert read(data) == ServerHello(TLS12, session.id)

    def test_withATicketThereIsNoId(self):
        assert read(flight(tickets=True)[0]) == ServerHello(TLS12, b"")

    def test_tls13IsAnExtension(self):
        found = read(flight(ssl.TLSVersion.TLSv1_3)[0])
        assert (found.version, len(found.session)) == (TLS13, 32)

    @pytest.mark.parametrize("session", [b"", b"x", ID])
    def test_ids(self, session):
        for extensions in ((), (extension(23),), (extension(23), SELECTED, extension(0))):
            found = read(records(message(*extensions, session=session)))
            assert found == ServerHello(TLS13 if SELECTED in extensions else TLS12, session)

    def test_anOldVersion(self):
        assert read(records(message(version=b"\3\1"), version=b"\3\1")).version == TLS10


class TestPieces:
    @EVERY_HELLO
    def test_everyPiece(self, data):
        expected = read(data)
        for pieces in inPieces(data):
            reader = ServerHelloReader()
            found = [reader.read(piece) for piece in pieces]
            known = [one for one in found if one is not None]
            assert known and set(map(str, known)) == {str(expected)}
            # Once it is known it stays.
            assert found[-1] == expected

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 50, 100])
    def test_recordsOfEverySize(self, size):
        data = records(message(SELECTED), size)
        reader = ServerHelloReader()
        assert [reader.read(data[at : at + 1]) for at in range(len(data) - 1)] == [None] * (
            len(data) - 1
        )
        assert reader.read(data[-1:]) == ServerHello(TLS13, ID)

    def test_whatFollowsIsNotKept(self):
        reader = ServerHelloReader()
        found = reader.read(records(message()) + bytes(100_000))
        assert reader.read(b"\x15 and whatever else") == found


class TestBad:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"\x15\3\3\0\2\2\x28", "no record of a handshake"),
            (b"220 welcome", "no record of a handshake"),
            (b"\x16\2", "a record of no version of TLS"),
            (b"\x16\3\3\0\0", "a record that is empty or longer than allowed"),
            (b"\x16\3\3\x40\1", "a record that is empty or longer than allowed"),
            (b"\x16\3\3\0\4\1", "a handshake that does not begin with a ServerHello"),
            (records(b"\2\0\x40\2"), "a ServerHello that is too long"),
            (records(b"\2\0\0\0"), "a ServerHello that is too short or of no version of TLS"),
            (records(message(version=b"\2\3")),
             "a ServerHello that is too short or of no version of TLS"),
            (records(message(session=bytes(33))), "a session id of more than 32 bytes"),
            (records(message(more=b"\xc0\x2f")), "a ServerHello that is cut off"),
            (records(message(more=b"\xc0\x2f\0\0")),
             "a list of extensions that does not fill its message"),
            (records(message(b"\0\0\0")), "an extension that is cut off"),
            (records(message(b"\0\0\0\1")), "an extension that is cut off"),
            (records(message(SELECTED, SELECTED)), "not one version that was selected"),
            (records(message(extension(43, b"\3"))), "not one version that was selected"),
            (records(message(), 40)[:45] + b"\x17\3\3", "no record of a handshake"),
        ],
    )  # fmt: skip
    def test_reasons(self, data, reason):
        assert refusal(data) == reason

    def test_anEndlessOne(self):
        """It is given up after what a full record has, however small the pieces are."""
        reader = ServerHelloReader()
        data = records(b"\2\0\x3f\0" + bytes(16000), 1)
        assert len(data) > LIMIT
        assert reader.read(data[: LIMIT - 1]) is None
        with pytest.raises(BadServerHello, match="not within"):
            reader.read(data[LIMIT - 1 :])
        with pytest.raises(BadServerHello, match="not within"):
            reader.read(b"more")


def verdict(data):
    try:
        return read(data)
    except BadServerHello as refused:
        return str(refused)


class TestAtRandom:
    @given(
        st.sampled_from(list(HELLOS.values())),
        st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=8),
    )
    def test_bytesThatChange(self, data, changed):
        wrong = bytearray(data)
        for at, value in changed:
            wrong[at % len(wrong)] = value
        found = verdict(bytes(wrong))
        assert not isinstance(found, ServerHello) or len(found.session) <= 32

    @given(st.binary(max_size=99) | st.binary(max_size=99).map(lambda s: b"\x16\3\3\0\x30\2" + s))
    def test_anything(self, data):
        """What was said of the beginning holds for the whole."""
        reader = ServerHelloReader()
        said = None
        for at in range(len(data)):
            if not isinstance(said, str):
                try:
                    now = reader.read(data[at : at + 1])
                except BadServerHello as refused:
                    now = str(refused)
                assert said in (None, now)
                said = now
        assert verdict(data) == said

    @given(st.lists(st.builds(extension, st.integers(0, 60), st.binary(max_size=9)), max_size=5))
    def test_anyExtensions(self, extensions):
        found = verdict(records(message(*extensions)))
        assert isinstance(found, str) or found.session == ID
