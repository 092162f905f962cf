"""
C{etc/proxypass.ini}: one site that is two applications more, as Apache's C{ProxyPass} and
its kin make it. Rows 003.3 to 003.5.
"""

import re

import pytest
from places import Places, named, values
from recipe import Mirror, asks, connects, started

from programs import freePort

pytestmark = pytest.mark.needs("curl", "nginx")

# Everything under one path that says something of where it is.
PLACES = """
    absolute_redirect off;
    location / {
        add_header Set-Cookie "a=b; Domain=bk.dom.com; Path=/";
        add_header Set-Cookie "c=d; HttpOnly; domain=.BK.dom.com; path=/inner/; Secure";
        add_header Set-Cookie "e=f";
        add_header Set-Cookie "g=h; Domain=other.com; Path=/";
        return 200 "$request_method $request_uri $http_host";
    }
    location /refers {
        add_header Location $arg_to always;
        add_header Content-Location $arg_to always;
        add_header URI $arg_to always;
        add_header Refresh "5; url=$arg_to" always;
        add_header Link "<$arg_to>; rel=next, <http://other/x>; rel=prev" always;
        return 404 $http_host;
    }
"""

STORE = """
    location / {
        add_header Set-Cookie "s=t; Domain=store.internal; Path=/store";
        return 200 "$request_uri $http_host";
    }
    location = /store/refers { return 302 http://store.internal:8080/store/cart; }
    location = /store/plain { add_header Location /x; return 200; }
    location = /store/away { return 302 http://store.internal:8080/elsewhere; }
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The recipe, at work: C{port}, and the heads that C{main} gets."""
    directory = tmp_path_factory.mktemp("proxypass")
    port = freePort()
    with (
        Places(directory / "mirror", PLACES) as mirror,
        Places(directory / "store", STORE) as store,
        Mirror("main") as main,
    ):
        replaced = {
            "bind = :80\n": f"bind = 127.0.0.1:{port}\n", "10.0.3.10:8000": main,
            "10.0.3.20:8001": mirror, "10.0.3.30:8080": store,
        }  # fmt: skip
        with started("proxypass.ini", directory, replaced) as balancer:
            balancer.port, balancer.main = port, main
            yield balancer


def asked(site, path, host="dom.com", *arguments):
    """@return: what C{Host} and target the server was asked for, or who else answered."""
    _, _, body = named(f"http://{host}{path}", site.port, "--path-as-is", *arguments)
    return body


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/mirror/foo/bar", "/bar"),
        ("/mirror/foo/", "/"),
        ("/mirror/foo/bar?x=/mirror/foo/&y", "/bar?x=/mirror/foo/&y"),
        ("/mirror/foo/?", "/?"),
        ("/mirror/foo/a%2Fb%2f%41", "/a%2Fb%2f%41"),
        ("/mirror/foo/mirror/foo/", "/mirror/foo/"),
        # Other spellings of the same.
        ("//mirror/%66oo/bar", "/bar"),
        ("/x/../mirror/./foo/bar", "/bar"),
    ],
)
def test_aPathBelow(site, path, seen):
    """Row 003.3: C{ProxyPass} puts another path, and another host, in place of this one."""
    assert asked(site, path) == f"GET {seen} bk.dom.com"


@pytest.mark.parametrize("host", ["Dom.COM", "dom.com:80", "dom.com."])
def test_theHostIsTheSameInAnySpelling(site, host):
    assert asked(site, "/mirror/foo/bar", "dom.com", "-H", f"Host: {host}") == "GET /bar bk.dom.com"


def test_anyMethod(site):
    body = asked(site, "/mirror/foo/form", "dom.com", "-d", "field=value")
    assert body == "POST /form bk.dom.com"


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/mirror/foo", "dom.com"),
        ("/mirror/foobar", "dom.com"),
        ("/mirror/Foo/bar", "dom.com"),
        ("/mirror%2Ffoo/bar", "dom.com"),
        ("/mirror/foo/../../secret", "dom.com"),
        ("/mirror/foo/%2e%2e/secret", "dom.com"),
        ("/shopping", "dom.com"),
        ("/mirror/foo/bar", "www.dom.com"),
        ("/mirror/foo/bar", "dom.com.example.org"),
    ],
)
def test_whatIsNotBelow(site, path, host):
    """It is the site's own, with the path and the host as they came."""
    assert asked(site, path, host) == "main"
    assert [f"GET {path} HTTP/1.1", f"Host: {host}"] == site.main.heads[-1][:2]


BACK = "/mirror/foo/x"


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ("http://bk.dom.com/x", BACK),
        ("https://bk.dom.com:8443/x", BACK),
        ("/x", BACK),
        ("//bk.dom.com/x", BACK),
        ("HTTP://BK.Dom.com/x", BACK),
        ("http://bk.dom.com", "/mirror/foo/"),
        ("http://bk.dom.com/a?b=/c#d", "/mirror/foo/a?b=/c#d"),
        # Not the server's: a host of another name, and what is relative anyway.
        ("http://other/x", "http://other/x"),
        ("http://bk.dom.com.example.org/x", "http://bk.dom.com.example.org/x"),
        ("http://bk.dom.com@example.org/x", "http://bk.dom.com@example.org/x"),
        ("x", "x"),
        ("ftp://bk.dom.com/x", "ftp://bk.dom.com/x"),
    ],
)
def test_whatTheServerRefersTo(site, said, got):
    """Row 003.4: C{ProxyPassReverse}, and the fields that Apache has forgotten."""
    url = f"http://dom.com/mirror/foo/refers?to={said}"
    status, fields, body = named(url.replace("#d", "%23d"), site.port)
    got = got.replace("#d", "%23d")
    assert (status.split()[1], body) == ("404", "bk.dom.com")
    assert values(fields, "location") == [got]
    assert values(fields, "content-location") == [got]
    assert values(fields, "uri") == [got]
    assert values(fields, "refresh") == [f"5; url={got}"]
    assert values(fields, "link") == [f"<{got}>; rel=next, <http://other/x>; rel=prev"]


def test_cookies(site):
    """Row 003.5: C{ProxyPassReverseCookieDomain} and C{ProxyPassReverseCookiePath}."""
    _, fields, _ = named("http://dom.com/mirror/foo/", site.port)
    assert values(fields, "set-cookie") == [
        "a=b; Domain=dom.com; Path=/mirror/foo/",
        "c=d; HttpOnly; domain=.dom.com; path=/mirror/foo/inner/; Secure",
        "e=f",
        "g=h; Domain=other.com; Path=/mirror/foo/",
    ]


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/shop", "/store"), ("/shop/", "/store/"), ("/shop/cart?id=1", "/store/cart?id=1")],
)
def test_aPathBelowAnother(site, path, seen):
    assert asked(site, path) == f"{seen} store.internal:8080"


def test_absoluteReferences(site):
    """Row 003.4, the absolute form; what is not below the server's path stays."""
    _, fields, _ = named("http://dom.com/shop/refers", site.port)
    assert values(fields, "location") == ["http://dom.com/shop/cart"]
    _, fields, _ = named("http://dom.com/shop/away", site.port)
    assert values(fields, "location") == ["http://store.internal:8080/elsewhere"]


def test_theDomainThatTheClientHasAskedFor(site):
    _, fields, _ = named("http://dom.com/shop/cart", site.port)
    assert values(fields, "set-cookie") == ["s=t; Domain=dom.com; Path=/shop"]


def test_anotherApplicationOnTheSameConnection(site):
    """What was to be done with one response is not done with the next one."""
    with connects(site.port) as client:
        for path, got in [
            ("/mirror/foo/refers?to=/x", "/mirror/foo/x"), ("/shop/plain", "/x"),
            ("/mirror/foo/refers?to=/x", "/mirror/foo/x"),
        ]:  # fmt: skip
            head, _ = asks(client, "Host: dom.com", line=f"GET {path} HTTP/1.1")
            assert re.findall(r"^Location: (.*?)\r?$", head, re.M) == [got]
