"""
Cookies of persistence in real jars: those of curl and of requests keep what they should, send it
where they should, and come back to their server; with TLS as well, on both sides.
"""

import re
import ssl

import pytest
import requests
import urllib3.util.connection
from authority import Authority, pem
from loopback.running import Balancer, freePorts, run
from recipes.places import Places

pytestmark = pytest.mark.needs("curl", "nginx")

COOKIES = {
    "usual": "",
    "domain": "domain=example.test",
    "path": "path=/shop",
    "secure": "secure",
    "scripts": "no-httponly",
    "strict": "samesite=strict",
    "foreign": "samesite=none secure",
    "kept": 'attr="Max-Age=3600"',
    "gone": 'attr="Max-Age=0"',
    "idle": "maxidle=30m maxlife=8h",
    "plain": "plain",
    "host": "secure",
    "indirect": "indirect nocache",
}
"""By the host that has it, what its pool says of the cookie."""

LIGHT = "ECDHE-ECDSA-AES128-GCM-SHA256"
SERVERS = ("one", "two", "three")
AUTHORITY, INTERNAL = Authority("Public"), Authority("Internal")


def pools(servers):
    lines = []
    for name, words in COOKIES.items():
        cookie = "__Host-SRV" if name == "host" else "SRV"
        lines += [f"[pool {name}]", f"persist = cookie {cookie} insert {words}"]
        lines += [f"server {one} = {place}" for one, place in servers.items()]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """
    A balancer with a pool for each host; C{ports} without TLS, with it, and with it on both
    sides, where the servers have TLS of their own.
    """
    directory = tmp_path_factory.mktemp("jars")
    AUTHORITY.issue("*.example.test").write(directory / "site.pem")
    (directory / "ca.pem").write_bytes(pem(AUTHORITY.certificate))
    INTERNAL.issue("app.internal").write(directory / "app.pem")
    (directory / "internal.pem").write_bytes(pem(INTERNAL.certificate))
    ports, secured = freePorts(3), dict(zip(SERVERS, freePorts(3), strict=True))
    places = {
        name: Places(
            directory / name,
            f"""
            listen 127.0.0.1:{secured[name]} ssl;
            ssl_certificate {directory}/app.pem;
            ssl_certificate_key {directory}/app.pem;
            ssl_protocols TLSv1.2;
            ssl_ciphers {LIGHT};
            location / {{ return 200 "{name} $http_cookie"; }}""",
        )
        for name in SERVERS
    }
    bridged = "\n".join(
        f"server {name} = 127.0.0.1:{port} tls ca=internal.pem sni=app.internal ciphers={LIGHT}"
        " maximum=TLSv1.2"
        for name, port in secured.items()
    )
    text = f"""\
[global]
log = file:access.log
[frontend http]
bind = 127.0.0.1:{ports[0]}
request =
    pool {{host.split(".")[0]}}
[frontend https]
bind = 127.0.0.1:{ports[1]} tls=site
request =
    pool {{host.split(".")[0]}}
[frontend bridge]
bind = 127.0.0.1:{ports[2]} tls=site
pool = bridge
request =
    pool usual if path.startswith("/usual")
[tls site]
certificate = site.pem
minimum = TLSv1.3
[pool bridge]
persist = cookie __Host-SRV insert indirect nocache secure samesite=lax
{bridged}
{pools(places)}
"""
    with (
        places["one"], places["two"], places["three"], Balancer(directory, text) as balancer,
    ):  # fmt: skip
        balancer.ports, balancer.ca = ports, directory / "ca.pem"
        yield balancer


# curl


class Curl:
    """@ivar jar: the path of its cookie jar."""

    def __init__(self, site, jar):
        self.site, self.jar = site, jar

    def asks(self, url, *arguments):
        """@return: the head, and the body in words: the server's name, and what it was sent."""
        port = self.site.ports[url.startswith("https")]
        done = run(
            "curl", "-sS", "-i", "--max-time", 20, "-b", self.jar, "-c", self.jar,
            "--cacert", self.site.ca, "--connect-to", f"::127.0.0.1:{port}", *arguments, url,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        return head, body.split()

    @property
    def kept(self):
        """The cookies in the jar: host, below it too, path, secure, until when, name, scripts."""
        found = []
        for line in self.jar.read_text().splitlines():
            hidden = line.startswith("#HttpOnly_")
            fields = line.removeprefix("#HttpOnly_").split("\t")
            if len(fields) == 7:
                host, below, path, secure, until, name, _ = fields
                found.append((host, below, path, secure, until != "0", name, not hidden))
        return found


@pytest.fixture
def curl(site, tmp_path):
    return Curl(site, tmp_path / "jar")


USUAL = ("usual.example.test", "FALSE", "/", "FALSE", False, "SRV", False)


def kept(label, **changes):
    """What a jar has of a cookie that is like the usual one, but for what is said."""
    names = ("host", "below", "path", "secure", "until", "name", "scripts")
    usual = dict(zip(names, USUAL, strict=True), host=f"{label}.example.test")
    return [tuple({**usual, **changes}.values())]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://usual", kept("usual")),
        ("http://domain", kept("domain", host=".example.test", below="TRUE")),
        ("http://path", []),
        ("http://path.example.test/shop/x", kept("path", path="/shop")),
        ("https://secure", kept("secure", secure="TRUE")),
        ("http://secure", []),
        ("http://scripts", kept("scripts", scripts=True)),
        ("http://strict", kept("strict")),
        ("https://foreign", kept("foreign", secure="TRUE")),
        ("http://kept", kept("kept", until=True)),
        ("http://gone", []),
        ("http://idle", kept("idle")),
        ("https://host", kept("host", secure="TRUE", name="__Host-SRV")),
        ("http://host", []),
    ],
)
def test_whatCurlKeeps(curl, url, expected):
    """What it keeps it sends, and comes to the same server, however often."""
    if "." not in url:
        url += ".example.test/"
    _, [first, *_] = curl.asks(url)
    if url == "http://path.example.test/":
        # curl keeps what it would not send here; browsers as well.
        assert [one[2] for one in curl.kept] == ["/shop"]
        return
    assert curl.kept == expected
    others = [curl.asks(url)[1][0] for _ in range(4)]
    if expected:
        assert others == [first] * 4
        assert curl.kept == expected
    else:
        assert set(others) | {first} == set(SERVERS), "nobody is known"


def test_curlAndPaths(curl):
    """It sends the cookie below its path and nowhere else."""
    _, [first, *_] = curl.asks("http://path.example.test/shop/")
    assert curl.asks("http://path.example.test/shop/cart")[1][0] == first
    assert len(curl.asks("http://path.example.test/shopping")[1]) == 1, "no cookie was sent"


def test_curlAndDomains(curl):
    """One cookie for all hosts below."""
    _, [first, *_] = curl.asks("http://domain.example.test/")
    for _ in range(3):
        assert curl.asks("http://domain.www.example.test/")[1][0] == first


def test_curlAndWhatIsSecure(curl):
    """RFC 6265bis, section 5.7: what was set without TLS takes nothing away."""
    _, [first, *_] = curl.asks("https://secure.example.test/")
    for _ in range(3):
        assert len(curl.asks("http://secure.example.test/")[1]) == 1, "no cookie was sent"
    assert curl.asks("https://secure.example.test/")[1][0] == first


def test_theServersAndIndirect(curl):
    """They see the usual cookie, and not the other one; which is not for shared caches."""
    curl.asks("http://usual.example.test/")
    assert len(curl.asks("http://usual.example.test/")[1]) == 2
    head, _ = curl.asks("http://indirect.example.test/")
    assert "Cache-Control: private" in head
    head, words = curl.asks("http://indirect.example.test/")
    assert len(words) == 1
    assert "Cache-Control" not in head


def test_plainValues(curl):
    _, [first, *_] = curl.asks("http://plain.example.test/")
    assert f"\tSRV\t{first}\n" in curl.jar.read_text()


def test_opaqueValuesSayNothing(curl):
    curl.asks("http://usual.example.test/")
    [value] = re.findall("\tSRV\t(.*)\n", curl.jar.read_text())
    assert re.fullmatch("[A-Za-z0-9_-]{16}", value)
    assert not any(name in value for name in SERVERS)


# requests


@pytest.fixture
def session(site, monkeypatch):
    """A session of requests whose hosts are all at the balancer's ports."""
    connect = urllib3.util.connection.create_connection

    def connected(address, *arguments, **options):
        port = {80: site.ports[0], 443: site.ports[1], 444: site.ports[2]}[address[1]]
        return connect(("127.0.0.1", port), *arguments, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connected)
    with requests.Session() as session:
        session.verify = str(site.ca)
        session.trust_env = False
        yield session


def goes(session, url):
    """@return: the name of the server that has answered."""
    return session.get(url, timeout=20).text.split()[0]


@pytest.mark.parametrize(
    ("url", "attributes"),
    [
        ("http://usual.example.test/", {"HttpOnly": None}),
        ("https://secure.example.test/", {"HttpOnly": None}),
        ("http://scripts.example.test/", {}),
        ("http://strict.example.test/", {"HttpOnly": None, "SameSite": "Strict"}),
        ("https://foreign.example.test/", {"HttpOnly": None, "SameSite": "None"}),
        ("http://kept.example.test/", {"HttpOnly": None}),
        ("http://path.example.test/shop/", {"HttpOnly": None}),
    ],
)
def test_whatRequestsKeeps(session, url, attributes):
    first = goes(session, url)
    [cookie] = session.cookies
    assert cookie._rest == attributes
    assert (cookie.path, cookie.secure) == (
        "/shop" if "path" in url else "/", url.startswith("https"),
    )  # fmt: skip
    assert (cookie.expires is not None) == ("kept" in url)
    assert [goes(session, url) for _ in range(4)] == [first] * 4


def test_requestsForgetsWhatIsOver(session):
    went = {goes(session, "http://gone.example.test/") for _ in range(4)}
    assert went == set(SERVERS)
    assert len(session.cookies) == 0


def test_requestsAndWhatIsSecure(session):
    """Over TLS it has a server; without it is nobody."""
    first = goes(session, "https://secure.example.test/")
    assert [goes(session, "https://secure.example.test/") for _ in range(3)] == [first] * 3
    assert {goes(session, "http://secure.example.test/") for _ in range(4)} == set(SERVERS)


def test_requestsAndDomains(session):
    first = goes(session, "http://domain.example.test/")
    assert [goes(session, "http://domain.www.example.test/") for _ in range(3)] == [first] * 3


def test_eachSessionItsOwn(site, session):
    """Ten clients at once come back to ten servers' worth of places, evenly dealt."""
    url = "http://usual.example.test/"
    jars = [requests.cookies.RequestsCookieJar() for _ in range(9)]

    def ask(jar):
        session.cookies = jar
        return goes(session, url)

    went = [ask(jar) for jar in jars]
    assert sorted(went) == sorted(SERVERS * 3)
    for _ in range(3):
        assert [ask(jar) for jar in jars] == went


# between two sides of TLS


def test_bothSidesOfTLS(site, session):
    """
    Row 003.21: in front TLSv1.3, behind a light cipher of its own; persistence by cookie and
    the choice of a pool by the path work in between.
    """
    url = "https://bridge.example.test:444/"
    first = goes(session, url)
    assert first in SERVERS
    [cookie] = session.cookies
    assert (cookie.name, cookie.secure, cookie._rest["SameSite"]) == ("__Host-SRV", True, "Lax")
    assert [goes(session, url) for _ in range(5)] == [first] * 5
    assert goes(session, f"{url}usual") in SERVERS
    assert {one.name for one in session.cookies} == {"__Host-SRV", "SRV"}
    context = ssl.create_default_context(cafile=site.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        urllib3.util.connection.create_connection(("bridge.example.test", 444)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="bridge.example.test")
