"""
What is read of hostile bytes, held against other programs where there are some.
"""

import ipaddress
import shutil
import socket
import subprocess
import time
from http.cookies import SimpleCookie
from posixpath import normpath
from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.rules.reading import (
    address,
    cookiesOf,
    item,
    normalPath,
    number,
    product,
    queryOf,
    text,
    wire,
)
from lbtwist.sansio.headers import Fields


@given(st.binary())
def test_everyByteComesBack(data):
    assert wire(text(data)) == data


# paths

# What nginx makes of a path, L{None} where it answers 400.
NORMAL = {
    "/": "/", "//": "/", "///a": "/a", "/a//b///": "/a/b/", "/.": "/", "/./": "/", "/./a": "/a",
    "/a/.": "/a/", "/a/./b": "/a/b", "/a/..": "/", "/a/../": "/", "/a/../b": "/b",
    "/a/b/../../c": "/c", "/a/..b": "/a/..b", "/a/.b": "/a/.b", "/.../a": "/.../a",
    "/a/...": "/a/...", "/a//../b": "/b", "/a/.//b": "/a/b", "/a/b/..//c": "/a/c",
    "/a/b/..": "/a/", "//admin": "/admin", "/x//../admin": "/admin", "/%61dmin": "/admin",
    "/%61%64min": "/admin", "/a/%2e%2e/b": "/b", "/a/%2E/b": "/a/b", "/a/%2e%2e": "/",
    "/a/%2e": "/a/", "/a/%2e./b": "/b", "/a/.%2e/b": "/b", "/%7Eu": "/~u", "/A/%41": "/A/A",
    "/%30%39%5f%2D": "/09_-", "/a;b": "/a;b", "/a;/../b": "/b", "/a/..;/b": "/a/..;/b",
    "/a+b": "/a+b", "/a\\..\\b": "/a\\..\\b", "/a~": "/a~",
}  # fmt: skip
# What is reserved stays encoded here; nginx decodes it.
DIFFERENT = {
    "/a%2Fb": ("/a%2Fb", "/a/b"), "/a%2f..%2fb": ("/a%2f..%2fb", "/b"), "/%25": ("/%25", "/%"),
    "/%2561": ("/%2561", "/%61"), "/a%20b": ("/a%20b", "/a b"), "/%C3%A9": ("/%C3%A9", "/é"),
    "/%3F": ("/%3F", "/?"), "/..": ("/", None), "/../a": ("/a", None), "/%2e%2e/a": ("/a", None),
    "/a/../..": ("/", None), "/%": ("/%", None), "/%zz": ("/%zz", None), "/a%00": ("/a%00", None),
}  # fmt: skip


@pytest.mark.parametrize(("path", "normal"), NORMAL.items())
def test_normalPath(path, normal):
    assert normalPath(path) == normal


@pytest.mark.parametrize(("path", "normal"), [(k, v[0]) for k, v in DIFFERENT.items()])
def test_whatIsReservedStaysEncoded(path, normal):
    assert normalPath(path) == normal


@pytest.mark.parametrize("target", ["*", "", "example.com:443", "a/../b", "%2e/./x"])
def test_whatIsNoPathStays(target):
    assert normalPath(target) == target


@given(st.lists(st.sampled_from(["/", ".", "..", "a", "%2e", "%2E", "b.", "%61", "~"])))
def test_normalPathIsPosixOnes(parts):
    path = "/" + "".join(parts)
    found = normalPath(path)
    expected = normpath("/" + unquote(path).lstrip("/"))
    assert found.rstrip("/") == expected.rstrip("/")
    assert normalPath(found) == found
    assert "//" not in found and "/../" not in found and "/./" not in found


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    """@return: asks nginx what it makes of a path."""
    where = tmp_path_factory.mktemp("nginx")
    address = str(where / "socket")
    temporary = "".join(
        f"{kind}_temp_path {where};" for kind in
        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )  # fmt: skip
    (where / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {where}/pid; error_log {where}/error.log;"
        f"events {{}} http {{ access_log off; {temporary} server {{ listen unix:{address};"
        ' location / { return 200 "$uri"; } } }\n'
    )
    program = subprocess.Popen(
        [shutil.which("nginx") or "/usr/sbin/nginx", "-c", where / "nginx.conf", "-p", where],
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(500):
            if (where / "socket").exists():
                break
            time.sleep(0.01)

        def ask(path):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(address)
                asking.sendall(b"GET %b HTTP/1.0\r\n\r\n" % path.encode())
                data = b"".join(iter(lambda: asking.recv(65536), b""))
            head, _, body = data.partition(b"\r\n\r\n")
            return text(body) if head.split()[1] == b"200" else None

        yield ask
    finally:
        program.terminate()
        program.wait()


def test_nginxReadsPathsLikeThat(nginx):
    assert {path: nginx(path) for path in NORMAL} == NORMAL
    assert {path: nginx(path) for path in DIFFERENT} == {k: v[1] for k, v in DIFFERENT.items()}


# queries and cookies

NAMES = st.text("abc é+%=", max_size=4)
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=6)


@given(PAIRS)
def test_queriesAsTheStandardLibraryReadsThem(pairs):
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    expected = {}
    for name, found in parse_qsl(query, keep_blank_values=True):
        expected.setdefault(name, found)
    assert queryOf(b"/?" + query.encode()) == expected


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/", {}), (b"/?", {}), (b"/?&&", {}), (b"/?a", {"a": ""}), (b"/?=b", {"": "b"}),
        (b"/?a=b=c", {"a": "b=c"}), (b"/?a=1&a=2", {"a": "1"}), (b"/?%61=%2B+", {"a": "+ "}),
        (b"/?a=%ff", {"a": "\udcff"}), (b"/?a=%C3%A9", {"a": "é"}), (b"/?a=%zz%4", {"a": "%zz%4"}),
        (b"/?a=1;b=2", {"a": "1;b=2"}), (b"/?a=?&b=?", {"a": "?", "b": "?"}),
    ],
)  # fmt: skip
def test_queries(target, found):
    assert queryOf(target) == found


@pytest.mark.parametrize(
    "many", [b"&" * 2000, b"b&" * 2000, b"".join(b"%x&" % n for n in range(2000))]
)
def test_aParameterBehindManyIsSeen(many):
    """A server might look at all of them."""
    assert queryOf(b"/?" + many + b"name=%31")["name"] == "1"


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=2), st.text("xyz019._-", max_size=5)),
        max_size=6, unique_by=lambda pair: pair[0],
    )
)  # fmt: skip
def test_cookiesAsTheStandardLibraryReadsThem(pairs):
    line = "; ".join(f"{name}={value}" for name, value in pairs)
    fields = Fields()
    fields.add(b"Cookie", line.encode())
    assert cookiesOf(fields) == {name: one.value for name, one in SimpleCookie(line).items()}


def test_cookiesOfSeveralFields():
    fields = Fields(b"\nCookie: a=1; b\r\ncookie: a=2;c=\xff; =d\r\n")
    assert cookiesOf(fields) == {"a": "1", "c": "\udcff", "": "d"}


# numbers and addresses


@given(st.integers(-(10**17), 10**18))
def test_numbers(found):
    assert number(f" {found} ") == found


@pytest.mark.parametrize(
    "said",
    ["", " ", "-", "--1", "+1", "1_0", "1.5", "1e3", "0x1", "\u0663", "²", "1 2", "nan", "9" * 20],
)
def test_whatIsNoNumber(said):
    assert number(said) == 0
    assert number(said, -1.5) == -1.5


def test_productsStaySmall():
    assert product(3, -4) == -12 and isinstance(product(3, -4), int)
    assert product(2**62, 2) == 2.0**63 and isinstance(product(2**62, 2), float)
    assert product(2**63, 1e308) == float("inf")
    assert product(0, 1.5) == 0


@given(st.ip_addresses())
def test_addresses(found):
    expected = str(getattr(found, "ipv4_mapped", None) or found)
    for said in (str(found), found.exploded, found.exploded.upper(), f" [{found}]", f"{found}\n"):
        assert address(said) == expected


@given(st.ip_addresses(v=4))
def test_mappedAddressesAreThoseOfIPv4(found):
    assert address(f"::ffff:{found}") == str(found)


@pytest.mark.parametrize(
    "said",
    ["", "unix", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4/32", "1.2.3.4:80", "[::1]:80", "::1::",
     "\u0661.1.1.1", "::1%" + "z" * 100, "a" * 10_000, "\udcff", "%", "1" * 5000],
)  # fmt: skip
def test_whatIsNoAddress(said):
    assert address(said) == ""


@given(st.text(max_size=30))
def test_anAddressIsOneOrNothing(said):
    found = address(said)
    assert found == "" or str(ipaddress.ip_address(found)) == found


def test_partsThatThereAreNot():
    assert [item(("a", "b"), index) for index in (-3, -2, 1, 2)] == ["", "a", "b", ""]
