"""
The first message of RDP: as Microsoft's specification shows it and as FreeRDP sends it, in
whole, in pieces, made by hand, and changed at random.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.errors import BadConnectionRequest
from lbtwist.sansio.rdp import LIMIT, ConnectionRequest, address, isName, read
from lbtwist.testing import inPieces

# MS-RDPBCGR, section 4.1.1.
ELTONS = bytes.fromhex(
    "0300002c27e00000000000436f6f6b69653a206d737473686173683d656c746f6e730d0a0100080000000000"
)
SECURITY = bytes.fromhex("0100080003000000")
"""TLS and CredSSP, as FreeRDP offers them."""
CORRELATION = bytes.fromhex("06002400") + bytes(range(16)) + bytes(16)


def request(said=b"", more=SECURITY, header=b"\xe0\0\0\0\0\0"):
    """A Connection Request made by hand."""
    data = header + said + more
    return b"\3\0" + (len(data) + 5).to_bytes(2, "big") + bytes([len(data)]) + data


TOKEN = request(b"Cookie: msts=3640205228.15629.0000\r\n")
REQUESTS = {
    "the specification's": ELTONS,
    "a token": TOKEN,
    "no cookie": request(),
    "nothing at all": request(more=b""),
    "with all there is": request(b"Cookie: mstshash=a\r\n", SECURITY + CORRELATION),
    "the longest": request(b"Cookie: mstshash=" + b"a" * 221 + b"\r\n"),
}
EVERY_REQUEST = pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS)


def refusal(data):
    with pytest.raises(BadConnectionRequest) as caught:
        read(data)
    return str(caught.value)


class TestGood:
    def test_theSpecificationsExample(self):
        assert read(ELTONS) == ConnectionRequest("mstshash", b"eltons", 44)
        assert read(ELTONS).cookie("mstshash") == b"eltons"
        assert read(ELTONS).cookie("msts") == b""

    def test_aToken(self):
        assert read(TOKEN).cookie("msts") == b"3640205228.15629.0000"

    @pytest.mark.parametrize("said", [b"", b"tsv://MS Terminal Services Plugin.1.Farm\r\n"])
    def test_withoutACookie(self, said):
        assert read(request(said)) == ConnectionRequest("", b"", len(request(said)))

    @pytest.mark.parametrize(
        ("line", "name", "value"),
        [
            (b"cookie:   MSTSHash=DOMAIN\\Some Body", "mstshash", b"DOMAIN\\Some Body"),
            (b"Cookie:user=a=b", "user", b"a=b"),
            (b"Cookie: mstshash=", "mstshash", b""),
            (b"Cookie: mstshash=J\xfcrgen", "mstshash", b"J\xfcrgen"),
            (b"Cookie: mstshash", "", b""),
            (b"Cookie: =value", "", b""),
            (b"Cookie: a b=value", "", b""),
            (b"Cookie: mstshash=a\0b", "", b""),
            (b" Cookie: mstshash=a", "", b""),
            (b"Cookie: mstshash=a\r", "", b""),
            (b"Cookie: " + b"n" * 65 + b"=a", "", b""),
        ],
    )
    def test_lines(self, line, name, value):
        found = read(request(line + b"\r\n"))
        assert (found.name, found.value) == (name, value)

    def test_theEndOfTheLineIsNotTheSecuritys(self):
        """What is not within the request is none of its cookie."""
        data = request(b"Cookie: mstshash=a", b"")
        assert read(data + b"\r\n").value == b""

    def test_theLongest(self):
        data = REQUESTS["the longest"]
        assert len(data) == LIMIT
        assert read(data).value == b"a" * 221


class TestPieces:
    @EVERY_REQUEST
    def test_everyPiece(self, data):
        for pieces in inPieces(data):
            came = b""
            for piece in pieces:
                assert read(came) is None
                came += piece
            assert read(came) == read(data)

    @EVERY_REQUEST
    def test_whatFollows(self, data):
        found = read(data)
        assert found.size == len(data)
        assert read(data + b"\3\0\0\0more\r\n") == found


class TestBad:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"\x16", "no TPKT"),
            (b"G", "no TPKT"),
            (b"\3\1", "a TPKT with a reserved byte that is not zero"),
            (b"\3\0\0\x0a", "a TPKT that is too short or too long for a request"),
            (b"\3\0\1\4", "a TPKT that is too short or too long for a request"),
            (b"\3\0\xff\xff", "a TPKT that is too short or too long for a request"),
            (b"\3\0\0\x2c\x26", "a header of X.224 that does not fill its TPKT"),
            (b"\3\0\0\x2c\x27\xd0", "another message of X.224 than a Connection Request"),
            (b"\3\0\0\x2c\x27\xe1", "another message of X.224 than a Connection Request"),
            (b"\3\0\0\x2c\x27\xe0\0\1", "a Connection Request with a destination"),
            (b"\3\0\0\x2c\x27\xe0\1", "a Connection Request with a destination"),
        ],
    )
    def test_reasons(self, data, reason):
        """Each is known as soon as its byte is there."""
        assert refusal(data) == reason
        assert read(data[:-1]) is None
        assert refusal(data + bytes(300)) == reason


class TestAddress:
    @pytest.mark.parametrize(
        ("token", "found"),
        [
            # MSDN: IMsRdpClientAdvancedSettings::LoadBalanceInfo.
            (b"3640205228.15629.0000", ("172.31.249.216", 3389)),
            (b"3640205228.15629.", ("172.31.249.216", 3389)),
            (b"3640205228.15629.0000 ", ("172.31.249.216", 3389)),
            (b"16777343.20480.0000", ("127.0.0.1", 80)),
            (b"4294967295.65535.0000", ("255.255.255.255", 65535)),
            (b"4294967296.15629.0000", None),
            (b"3640205228.65536.0000", None),
            (b"3640205228.0.0000", None),
            (b"3640205228.15629", None),
            (b"3640205228.15629.00000", None),
            (b"-1.15629.0000", None),
            (b"\xd9\xa1.15629.0000", None),
            (b"99999999999.15629.0000", None),
            (b"", None),
        ],
    )
    def test_tokens(self, token, found):
        assert address(token) == found

    @given(st.ip_addresses(v=4), st.integers(1, 65535))
    def test_thereAndBack(self, host, port):
        number = int.from_bytes(host.packed, "little")
        swapped = int.from_bytes(port.to_bytes(2, "big"), "little")
        assert address(b"%d.%d.0000" % (number, swapped)) == (str(host), port)


class TestAtRandom:
    @given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda data: b"\3\0\0" + data))
    def test_anything(self, data):
        """What was said of the beginning holds for the whole."""
        said = None
        for end in range(len(data) + 1):
            try:
                now = read(data[:end])
            except BadConnectionRequest as bad:
                now = str(bad)
            assert said in (None, now)
            said = now
        assert said is not None or len(data) < LIMIT

    @given(st.binary(max_size=230))
    def test_anyLine(self, said):
        found = read(request(said))
        assert found.size <= LIMIT
        assert isName(found.name.encode()) or found == ConnectionRequest("", b"", found.size)
        assert found.value in said

    @given(st.binary(max_size=40))
    def test_anyToken(self, token):
        found = address(token)
        assert found is None or 0 < found[1] < 65536
