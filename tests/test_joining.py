"""What servers get that a source names: addresses, TLS, sources, checks; and that it ends."""

import pytest
from authority import Authority, pem
from twisted.internet.defer import succeed
from zope.interface.verify import verifyObject

from lbtwist.balance.scheduled import NoOptions
from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.errors import StartError
from lbtwist.health import Result
from lbtwist.interfaces import IHealthCheck, IServerSource
from lbtwist.registry import Context, Extension, installed
from lbtwist.testing import Balancer, Pump

CONFIG = """
[frontend www]
bind = {bind}
pool = app
log = off
[pool app]
servers web = {source} {options}
"""
SOURCES = (
    "dns:app.example:80", "srv:_http._tcp.example", "file:servers", "http://list.example/",
    "https://list.example/", "consul:web@127.0.0.1:8500", "docker:web",
)  # fmt: skip


@pytest.fixture
def ca(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(pem(Authority().certificate))
    return path


@pytest.fixture
def start(tmp_path):
    """A function that starts a balancer with the servers of a file."""
    started = []

    def start(options, *lines):
        path = tmp_path / "servers"
        path.write_text("".join(f"{line}\n" for line in lines))
        text = CONFIG.format(bind="${bind}", source=f"file:{path}", options=options)
        started.append(Balancer(text))
        return started[-1], path

    yield start
    for balancer in started:
        balancer.stop()


def says(balancer, path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    balancer.advance(2.5)
    return balancer.running.pool("app").servers


def servers(balancer):
    return balancer.running.pool("app").servers


def left(balancer):
    (membership,) = balancer.running.pool("app").memberships
    return membership.left


@pytest.mark.parametrize("source", SOURCES)
def test_everyBuiltInSource(source):
    """Provides its interface; nothing is done before it is asked."""
    text = CONFIG.format(bind="127.0.0.1:1", source=source, options="")
    registry = installed()
    config, _ = loadText(text, registry)
    (template,) = config.pools["app"].templates
    extension = registry.find(IServerSource, template.source.name)
    made = extension.make(template.source.options, Context(reactor=object()))
    assert verifyObject(IServerSource, made)
    assert 0 < made.interval and 0 < made.limit


def test_allOfThemAreTried():
    assert [source.partition(":")[0] for source in sorted(SOURCES)] == installed().names(
        IServerSource
    )


def test_nothingIsOpened(tmp_path):
    """By a configuration that is only looked at, or built."""
    pump = Pump()
    for source in SOURCES:
        text = CONFIG.format(bind="127.0.0.1:1", source=source, options="tls ca=/nonexistent")
        config, _ = loadText(text, installed())
        balancer = build(config, reactor=pump, seconds=pump.seconds)
        assert balancer.pool("app").servers == ()
    assert not pump.removeAll() and not pump.getDelayedCalls()


def test_addresses(start):
    balancer, _ = start("", "10.0.0.1:80", "[2001:db8::1]:80", "unix:/run/a", "localhost:80")
    balancer.advance(0)
    assert [str(server.endpoint) for server in servers(balancer)] == [
        "10.0.0.1:80", "[2001:db8::1]:80", "unix:/run/a", "127.0.0.1:80",
    ]  # fmt: skip


def test_anInterfaceThatIsNotThere(start):
    balancer, _ = start("", "[fe80::1%nosuch0]:80", "10.0.0.1:80")
    assert [server.name for server in servers(balancer)] == ["web-10.0.0.1:80"]
    assert "fe80::1%nosuch0" in left(balancer)[0]


def test_oneTLSForAll(start, ca):
    """Where they have one name; its files are looked at as long as one of them is there."""
    balancer, path = start(f"tls sni=app.example ca={ca}", "10.0.0.1:80", "10.0.0.2:80")
    files = balancer.running._files
    one, two = servers(balancer)
    assert one.tls is two.tls and one.tls.name == "app.example"
    assert len(files._watched) == 1
    says(balancer, path, "10.0.0.2:80", "10.0.0.3:80")
    assert {server.tls for server in servers(balancer)} == {one.tls}
    generation = one.tls.generation
    ca.write_bytes(pem(Authority().certificate))
    balancer.advance(11)
    assert one.tls.generation > generation


def test_filesOfOneThatHasComeLater(start, ca):
    """Are looked at as those of one that was there from the start."""
    balancer, path = start(f"tls ca={ca}", "10.0.0.1:80")
    _, two = says(balancer, path, "10.0.0.1:80", "10.0.0.2:80")
    generation = two.tls.generation
    ca.write_bytes(pem(Authority().certificate))
    balancer.advance(11)
    assert two.tls.generation > generation


def test_namesOfTheirOwn(start, ca):
    """Without a name for all each is known by its own, and forgotten with it."""
    balancer, path = start(f"tls ca={ca}", "10.0.0.1:80", "b.example:80")
    files = balancer.running._files
    one, two = servers(balancer)
    assert (one.tls.name, two.tls.name) == ("10.0.0.1", "b.example")
    says(balancer, path, "c.example:80")
    assert [watched.tls.name for watched in files._watched] == ["c.example"]
    assert [tls.name for tls in files._users] == ["c.example"]


@pytest.mark.parametrize("gone", [False, True])
def test_anotherTLS(start, ca, gone):
    """
    Of another configuration: those that are there have it at once, and those that have gone
    when they come back. Where it is the same it is kept.
    """
    balancer, path = start(f"tls sni=a.example ca={ca}", "10.0.0.1:80", "10.0.0.2:80")

    def becomes(options):
        if gone:
            says(balancer, path, "10.0.0.2:80")
            assert one.leaving
        balancer.becomes(CONFIG.format(bind="${bind}", source=f"file:{path}", options=options))
        says(balancer, path, "10.0.0.1:80", "10.0.0.2:80")
        assert servers(balancer)[0] is one and not one.leaving
        return one.tls

    one, _ = servers(balancer)
    one.active = 1
    first = one.tls
    assert becomes(f"tls sni=a.example ca={ca} maxconn=7") is first
    assert becomes(f"tls sni=b.example ca={ca}").name == "b.example"
    assert becomes("") is None
    assert not balancer.running._files._watched
    one.active = 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [("tls ca=/nonexistent/ca", "/nonexistent/ca"), ("source-interface=nosuch0", "source-interf")],
)
def test_whatIsMissing(tmp_path, options, reason):
    """Is found when the balancer starts, whether there are servers or not."""
    pump = Pump()
    text = CONFIG.format(bind=f"unix:{tmp_path}/bind", source="file:none", options=options)
    balancer = build(loadText(text, installed())[0], reactor=pump, seconds=pump.seconds)
    with pytest.raises(StartError, match=reason):
        balancer.startService()
    assert not pump.removeAll() and not pump.getDelayedCalls()


def test_aFileThatIsMissingLater(start, ca):
    """Whoever needs it cannot join; whoever is there stays."""
    balancer, path = start(f"tls ca={ca}", "10.0.0.1:80")
    ca.unlink()
    says(balancer, path, "10.0.0.1:80", "10.0.0.2:80")
    assert [server.name for server in servers(balancer)] == ["web-10.0.0.1:80"]
    assert left(balancer)[0].startswith("10.0.0.2:80: ")
    assert len(balancer.running._files._watched) == 1


def test_whatTheLineSays(start):
    """Is said of each: sources, limits, the PROXY header."""
    balancer, _ = start("source=127.0.0.2 maxconn=7 send-proxy weight=3", "10.0.0.1:80")
    (server,) = servers(balancer)
    assert server.origin.fixed and server.private
    assert (server.maxconn, server.weight) == (7, 3)


def test_aWeightThatAChecksSaysAPartOf(tmp_path):
    """Half of what the source says, also when that changes."""
    path = tmp_path / "servers"
    path.write_text("10.0.0.1:80 weight=10\n")
    check = "check = half interval=1s jitter=0"
    text = CONFIG.format(bind="${bind}", source=f"file:{path}", options="") + check
    half = Extension(IHealthCheck, "half", f"{__name__}.Half")
    with Balancer(text, registry=installed(half)) as balancer:
        balancer.advance(0.5)
        (server,) = servers(balancer)
        assert server.weight == 5
        says(balancer, path, "10.0.0.1:80 weight=40")
        assert server.weight == 20


def test_oneThatComesBackIsCheckedAgain(tmp_path, monkeypatch):
    """While it has gone nobody asks how it is."""
    asked = []
    monkeypatch.setattr(Half, "asked", asked)
    path = tmp_path / "servers"
    path.write_text("10.0.0.1:80 weight=10\n10.0.0.2:80 weight=10\n")
    check = "check = half interval=1s jitter=0"
    text = CONFIG.format(bind="${bind}", source=f"file:{path}", options="") + check
    half = Extension(IHealthCheck, "half", f"{__name__}.Half")
    with Balancer(text, registry=installed(half)) as balancer:
        balancer.advance(0.5)
        one, other = servers(balancer)
        one.active = 1
        says(balancer, path, "10.0.0.2:80 weight=10")
        del asked[:]
        balancer.advance(5)
        assert one.leaving and set(asked) == {other}
        says(balancer, path, "10.0.0.1:80 weight=10", "10.0.0.2:80 weight=10")
        balancer.advance(5)
        assert servers(balancer)[0] is one and one.weight == 5
        assert set(asked) == {one, other}
        one.active = 0


class Half:
    """
    A check that leaves half of the weight.

    @cvar asked: the servers that it was asked about.
    """

    Options = NoOptions
    asked = []

    def __init__(self, options, context):
        pass

    def check(self, server):
        self.asked.append(server)
        return succeed(Result(True, "L7OK", weight=50))


def test_weightsAfterALeave(start):
    """What a check has made of the weight of a server is not taken for its own."""
    balancer, path = start("weight=10", "10.0.0.1:80", "10.0.0.2:80")
    one, _ = servers(balancer)
    one.active = 1
    one.weight = 5
    says(balancer, path, "10.0.0.2:80")
    assert one.leaving
    says(balancer, path, "10.0.0.1:80", "10.0.0.2:80")
    assert not one.leaving and one.weight == 10
    one.active = 0
