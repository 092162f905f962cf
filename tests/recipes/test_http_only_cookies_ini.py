"""
C{etc/http-only-cookies.ini}: session cookies get the flags that they lack, and no other
cookie is touched. Row 003.16.
"""

import pytest
from authority import Authority, pem
from places import Places, named, values
from recipe import started

from programs import freePort

pytestmark = pytest.mark.needs("curl", "nginx")

AUTHORITY = Authority()

# By the path that is asked for: what the application sets.
COOKIES = {
    "/plain": ["appsession=1"],
    "/whole": ["appsessionid=1; path=/; expires=Wed, 09 Jun 2032 10:18:14 GMT"],
    "/spelt": ["AppSession=1; Path=/"],
    "/flagged": ["appsession=1; HTTPONLY; secure; samesite=Strict"],
    "/empty": ["appsession="],
    "/value": ["appsession=httponly; Domain=secure"],
    "/others": ["theme=dark; Path=/", "myappsession=1", "x=appsession"],
    "/several": ["theme=dark", "appsession=1", "cart=7; Secure", "appsession2=2"],
    "/none": [],
}

PLAIN = {
    "/plain": ["appsession=1; HttpOnly"],
    "/whole": ["appsessionid=1; path=/; expires=Wed, 09 Jun 2032 10:18:14 GMT; HttpOnly"],
    "/spelt": ["AppSession=1; Path=/; HttpOnly"],
    "/flagged": COOKIES["/flagged"],
    "/empty": ["appsession=; HttpOnly"],
    "/value": ["appsession=httponly; Domain=secure; HttpOnly"],
    "/others": COOKIES["/others"],
    "/several": ["theme=dark", "appsession=1; HttpOnly", "cart=7; Secure",
                 "appsession2=2; HttpOnly"],
    "/none": [],
}  # fmt: skip

MORE = "; Secure; SameSite=Lax"
SECURED = {
    path: [one + MORE if one.endswith("; HttpOnly") else one for one in cookies]
    for path, cookies in PLAIN.items()
}


def _place(path, cookies):
    lines = "".join(f'add_header Set-Cookie "{cookie}" always;' for cookie in cookies)
    return f"location = {path} {{ {lines} return 403 $http_cookie; }}"


@pytest.fixture(scope="module")
def iis(tmp_path_factory):
    """The recipe, at work: C{ports} without and with TLS, C{authority} of the latter."""
    directory = tmp_path_factory.mktemp("iis")
    AUTHORITY.issue("www.domain.com").write(directory / "site.pem")
    (directory / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
    ports = freePort(), freePort()
    places = "".join(_place(*item) for item in COOKIES.items())
    with Places(directory / "nginx", places) as nginx:
        replaced = {
            ":80\n    :443 ": f"127.0.0.1:{ports[0]}\n    127.0.0.1:{ports[1]} ",
            "10.0.3.10:80": nginx, "10.0.3.11:80": nginx, "expect=200-399": "expect=404",
        }  # fmt: skip
        with started("http-only-cookies.ini", directory, replaced) as balancer:
            balancer.ports, balancer.authority = ports, directory / "ca.pem"
            yield balancer


@pytest.mark.parametrize("path", COOKIES)
def test_withoutTLS(iis, path):
    """C{HttpOnly} once, whether it was there or not. C{Secure} would lose the cookie here."""
    status, fields, _ = named(f"http://www.domain.com{path}", iis.ports[0])
    assert status == "HTTP/1.1 403 Forbidden"
    assert values(fields, "set-cookie") == PLAIN[path]


@pytest.mark.parametrize("path", COOKIES)
def test_withTLS(iis, path):
    _, fields, _ = named(
        f"https://www.domain.com{path}", iis.ports[1], "--cacert", iis.authority
    )
    assert values(fields, "set-cookie") == SECURED[path]


def test_theCookieThatABrowserSendsIsNotTouched(iis):
    _, _, body = named(
        "http://www.domain.com/none", iis.ports[0], "-b", "appsession=1; theme=dark"
    )
    assert body == "appsession=1; theme=dark"
