"""
Files of users, and whose a password is. The hashes are those of other programs: openssl
passwd, htpasswd, and the tests of crypt_blowfish.
"""

import base64

import pytest

from lbtwist.rules import passwords
from lbtwist.rules.passwords import credentials, matches, readUsers

APR1 = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"
SHA256 = "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."
SHA512 = (
    "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM"
    "/O6IND4WQhG."
)
SHA1 = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
# Of "U*U".
BCRYPT = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

OF_SECRET = [APR1, SHA256, SHA512, SHA1]
NEEDS = {APR1: "passlib", SHA256: "passlib", SHA512: "passlib", BCRYPT: "bcrypt"}


def needed(stored):
    """Skip where the library for a kind of hash is not installed."""
    if stored in NEEDS:
        pytest.importorskip(NEEDS[stored])


@pytest.mark.parametrize("stored", OF_SECRET, ids=lambda stored: stored[:6])
def test_whosePassword(stored):
    needed(stored)
    assert matches(stored, b"secret")
    assert not matches(stored, b"Secret")
    assert not matches(stored, b"")


@pytest.mark.parametrize("kind", ["a", "b", "y"])
def test_bcrypt(kind):
    needed(BCRYPT)
    stored = BCRYPT.replace("$2a$", f"$2{kind}$")
    assert matches(stored, b"U*U")
    assert not matches(stored, b"U*U*")


def test_bcryptLooksAt72Bytes():
    """As htpasswd and Apache do; see crypt_blowfish's tests."""
    needed(BCRYPT)
    stored = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
    full = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    assert matches(stored, full)
    assert matches(stored, full + b"chars after 72 are ignored")
    assert not matches(stored, full[:-1])


@pytest.mark.parametrize("stored", [*OF_SECRET, BCRYPT], ids=lambda stored: stored[:6])
@pytest.mark.parametrize("password", [b"x" * 100_000, b"\xff\xfe", b"a\0b"])
def test_aPasswordThatNobodyHas(stored, password):
    needed(stored)
    assert not matches(stored, password)


@pytest.mark.parametrize("stored", ["", "secret", "$1$abc$def", "{SHA}"])
def test_whatIsNoHashMatchesNothing(stored):
    assert not matches(stored, b"secret")
    assert not matches(stored, b"")


# files


def test_aFile(tmp_path):
    needed(APR1)
    path = tmp_path / "users"
    path.write_text(
        f"# who may come in\n\nalice:{SHA1}\r\n  bob:{APR1}\nalice:{APR1}\ncarol:{SHA1}:Carol\n"
        f"dörte:{SHA1}\n"
    )
    assert readUsers(str(path)) == {
        b"alice": SHA1, b"bob": APR1, b"carol": SHA1, "dörte".encode(): SHA1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["alice", ":" + SHA1, "alice:secret", "alice:rl.3StKT.4T8M", "alice:$2y$05$short",
     "alice:" + SHA256[:-1], "alice:" + BCRYPT.replace("$05$", "$99$"), "alice:\xff"],
)  # fmt: skip
def test_aLineThatIsWrong(tmp_path, line):
    path = tmp_path / "users"
    path.write_text(f"bob:{SHA1}\n{line}\n")
    with pytest.raises(ValueError, match=r"users:2: ") as caught:
        readUsers(str(path))
    # A hash is not for the log.
    assert "secret" not in str(caught.value)


def test_aFileThatIsTooLong(tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "LONGEST_FILE", 10)
    path = tmp_path / "users"
    path.write_text(f"bob:{SHA1}\n")
    with pytest.raises(ValueError, match="is longer than 10 bytes"):
        readUsers(str(path))


@pytest.mark.parametrize(("stored", "name"), [(BCRYPT, "bcrypt"), (APR1, "passlib")])
def test_aLibraryThatIsMissing(tmp_path, monkeypatch, stored, name):
    def missing(module):
        raise ImportError(module)

    monkeypatch.setattr(passwords, "import_module", missing)
    path = tmp_path / "users"
    path.write_text(f"bob:{SHA1}\nalice:{stored}\n")
    with pytest.raises(ValueError, match=rf"users:2: .* needs {name}.*pip install 'lbtwist\[auth"):
        readUsers(str(path))


# what a client says


def basic(said):
    return b"Basic " + base64.b64encode(said)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (basic(b"alice:secret"), (b"alice", b"secret")),
        (b"bAsIc   " + base64.b64encode(b"alice:secret"), (b"alice", b"secret")),
        (basic(b"alice:a:b"), (b"alice", b"a:b")),
        (basic(b"alice:"), (b"alice", b"")),
        (basic("dörte:ß".encode()), ("dörte".encode(), "ß".encode())),
    ],
)
def test_credentials(field, found):
    assert credentials([field]) == found


@pytest.mark.parametrize(
    "fields",
    [[], [b""], [b"Basic"], [b"Basic "], [b"Basic ==="], [b"Basic YWxpY2U6c2VjcmV"],
     [b"Bearer YWxpY2U6c2VjcmV0"], [b"Basic YWxpY2U6c2VjcmV0, Basic x"], [basic(b"alice")],
     [basic(b"alice:a\0b")], [basic(b"al\nice:b")], [basic(b"alice:secret")] * 2],
)  # fmt: skip
def test_noCredentials(fields):
    assert credentials(fields) is None
