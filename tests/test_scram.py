"""SCRAM-SHA-256 from the client's side, against the example of RFC 7677 and bad servers."""

import pytest

from lbtwist.sansio.scram import MOST_ITERATIONS, BadSCRAM, Client

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = b"W22ZaJ0SNY7soEsUEjb6gQ=="
WHOLE = NONCE.encode() + SERVER


def challenge(nonce=WHOLE, salt=SALT, iterations=b"4096"):
    return b"r=" + nonce + b",s=" + salt + b",i=" + iterations


class User(Client):
    """As in RFC 7677 section 3, where the name of the user is said."""

    def __init__(self):
        super().__init__("pencil", NONCE)
        self._bare = b"n=user,r=" + NONCE.encode()


def test_theExampleOfTheRFC():
    client = User()
    assert client.first == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert client.final(challenge()) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    client.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_theUserIsNotSaid():
    assert Client("pencil", NONCE).first == b"n,,n=,r=rOprNGfwEbeRWgbNEkqO"


@pytest.mark.parametrize("said", [
    b"", b"e=other-error", challenge(nonce=b"other" + SERVER), challenge(nonce=NONCE.encode()),
    challenge(salt=b"===="), challenge(salt=b"W22"), challenge(salt=b"W\n22"),
    challenge(iterations=b"0"), challenge(iterations=b"-1"), challenge(iterations=b"1" * 9),
    challenge(iterations=b"%d" % (MOST_ITERATIONS + 1)), b"m=x," + challenge(),
    challenge(nonce=NONCE.encode() + b"x" * 600),
])  # fmt: skip
def test_badChallenges(said):
    with pytest.raises(BadSCRAM):
        User().final(said)


@pytest.mark.parametrize("said", [
    b"", b"e=other-error", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", b"v=",
])  # fmt: skip
def test_whoDoesNotKnowThePassword(said):
    client = User()
    client.final(challenge())
    with pytest.raises(BadSCRAM, match="the server does not know the password"):
        client.verify(said)
