"""The file of tokens: what may stand in it, who may read it, and when it counts."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.admin.web.tokens import (
    LONGEST_FILE,
    SCOPES,
    SHORTEST,
    Tokens,
    digestOf,
    newLine,
    parse,
    scopesOf,
)
from lbtwist.command import main
from lbtwist.errors import StartError
from lbtwist.options import Name

LONG = "x" * SHORTEST


@pytest.fixture
def file(tmp_path):
    """A function that writes the file of tokens, and gives its path."""
    path = tmp_path / "tokens"

    def write(text, mode=0o600):
        # As an editor does, so that it is another file.
        new = tmp_path / "new"
        new.write_bytes(text if isinstance(text, bytes) else text.encode())
        new.chmod(mode)
        new.rename(path)
        return str(path)

    return write


# what may stand in it


def test_aLineOfTheCommandIsOne():
    token, line = newLine("deploy", ["operate"])
    [found] = parse(line)
    assert (found.name, found.digest) == ("deploy", digestOf(token))
    assert found.scopes == {"read", "operate"}
    assert token not in line and token not in repr(found)
    assert len(token) > 40 and newLine("deploy", ["operate"])[0] != token


def test_linesAndComments():
    digest = digestOf(LONG).hex()
    found = parse(f"# who may\n\na {LONG} read # for the screen\nb sha256:{digest} read,admin\n")
    assert [(one.name, one.digest.hex()) for one in found] == [("a", digest), ("b", digest)]
    assert [sorted(one.scopes) for one in found] == [["read"], sorted(SCOPES)]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "there is no token in it"),
        ("a", "line 1: write NAME TOKEN SCOPE,SCOPE"),
        (f"\na {LONG} read more", "line 2: write NAME TOKEN SCOPE,SCOPE"),
        (f"a {LONG} write", "line 1: unknown scope 'write': write read, operate, admin"),
        (f"a {LONG} read,,admin", "line 1: unknown scope ''"),
        (f"a/b {LONG} read", "line 1: the first word is no name"),
        ("a secret read", "line 1: the token of a is shorter than 32 characters"),
        (f"a {'x' * 513} read", "line 1: the token of a is longer than 512 characters"),
        ("a sha256:00 read", "line 1: after sha256: come 64 hexadecimal digits"),
        (f"a {LONG} read\na {LONG} read", "line 2: a is there twice"),
    ],
)
def test_whatIsWrong(text, wrong):
    with pytest.raises(ValueError, match="^" + wrong) as raised:
        parse(text)
    assert LONG not in str(raised.value) and "secret" not in str(raised.value)


@given(st.text(max_size=200))
def test_anyTextIsReadOrRefused(text):
    try:
        found = parse(text)
    except ValueError:
        return
    assert all(Name.good(one.name) and one.scopes for one in found)


def test_scopesFollowFromOneAnother():
    for count, scope in enumerate(SCOPES, 1):
        assert scopesOf([scope]) == set(SCOPES[:count])


# who may read it


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601])
def test_othersMayNotReadIt(file, mode):
    path = file(f"a {LONG} read\n", mode)
    with pytest.raises(StartError, match=f"others can read or write it: chmod o-rwx {path}"):
        Tokens(path).open()


def test_itsGroupMay(file):
    tokens = Tokens(file(f"a {LONG} read\n", 0o640))
    tokens.open()
    assert tokens.find(LONG).name == "a"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"a \xff read", "it is not UTF-8"),
        (b"#" * (LONGEST_FILE + 1), "it is longer than"),
        (b"a b", "line 1: write NAME TOKEN"),
    ],
)
def test_aFileThatCannotBeUsed(file, text, wrong):
    path = file(text)
    with pytest.raises(StartError, match=f"^{path}: {wrong}"):
        Tokens(path).open()


def test_aFileThatIsNone(tmp_path):
    with pytest.raises(StartError, match="absent cannot be read: No such file"):
        Tokens(str(tmp_path / "absent")).open()
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(StartError, match="it is no file"):
        Tokens(str(tmp_path / "fifo")).open()


# when it counts


def test_aChangeCountsAtOnce(file):
    path = file(f"a {LONG} read\n")
    tokens = Tokens(path)
    tokens.open()
    known = tokens.find(LONG)
    file(f"a {LONG} admin\nb {LONG}b read\n")
    assert tokens.find(f"{LONG}b").name == "b"
    assert tokens.still(known).scopes == set(SCOPES)
    file(f"b {LONG}b read\n")
    assert tokens.find(LONG) is tokens.still(known) is None


@pytest.mark.parametrize(("text", "mode"), [("nonsense", 0o600), (f"a {LONG} read", 0o644)])
def test_whatCannotBeReadLetsNobodyIn(file, text, mode):
    tokens = Tokens(file(f"a {LONG} read\n"))
    tokens.open()
    known = tokens.find(LONG)
    path = file(text, mode)
    assert tokens.find(LONG) is tokens.still(known) is None
    file(f"a {LONG} read\n")
    assert tokens.find(LONG).name == "a"
    os.unlink(path)
    assert tokens.find(LONG) is None


def test_anotherTokenOfTheSameNameIsAnother(file):
    tokens = Tokens(file(f"a {LONG} read\n"))
    tokens.open()
    known = tokens.find(LONG)
    file(f"a {LONG}2 read\n")
    assert tokens.still(known) is None


@pytest.mark.parametrize("token", ["", "x", LONG + "x", "\udcff", "x" * 100_000])
def test_whatIsNoToken(file, token):
    tokens = Tokens(file(f"a {LONG} read\n"))
    tokens.open()
    assert tokens.find(token) is None


# the command


def test_theCommandPrintsALine(capsys):
    assert main(["token", "deploy", "--scope", "operate"]) == 0
    line, said = capsys.readouterr()
    [found] = parse(line)
    assert said.startswith("token: lbt_")
    assert found.digest == digestOf(said.removeprefix("token: ").strip())


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["a"], "unknown scope"), (["a", "--scope", "all"], "unknown scope 'all'"),
        (["a b", "--scope", "read"], "is not a name"), ([], "Wrong number of arguments"),
        (["a", "--scop", "read", "--x"], "option --x not recognized"),
    ],
)  # fmt: skip
def test_whatTheCommandDoesNotUnderstand(words, wrong, capsys):
    assert main(["token", *words]) == 2
    assert wrong in capsys.readouterr().err
