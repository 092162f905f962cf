"""
Sections to a configuration: the golden files in C{tests/config}, and any text at all.

C{REGENERATE=1 pytest tests/test_load.py} writes the expected files anew; what
changed is then for a person to read.
"""

from __future__ import annotations

import os
from pathlib import Path

import attr
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbtwist.config import values
from lbtwist.config.load import HTTP_ONLY, load, loadText
from lbtwist.config.model import Config, FrontendConfig
from lbtwist.errors import ConfigError
from lbtwist.interfaces import IBalancer, IHealthCheck, IServerSource
from lbtwist.options import (
    FieldName,
    Flag,
    Integer,
    Number,
    Pattern,
    Size,
    Statuses,
    Text,
    Time,
    Word,
    option,
)
from lbtwist.registry import Extension, Registry

GOLDEN = Path(__file__).parent / "config"
ENVIRON = {"HOST": "127.0.0.1", "PORTS": ":8000, :8001", "QUOTES": "a\"b ; 'c", "EMPTY": ""}


class RoundRobin:
    @attr.frozen
    class Options:
        pass


class LeastConn:
    @attr.frozen
    class Options:
        slow: bool = option(Flag(), False)


class Hash:
    @attr.frozen
    class Options:
        field: str = option(FieldName(), positional=True)
        load: int = option(Integer(100, 1000), 0)
        spread: float = option(Number(0.5, 2.0), 1.0)
        kind: str = option(Word("ring", "maglev"), "ring")

        @load.validator
        def _even(self, attribute, value):
            if value % 2:
                raise ValueError("load is even")


class Probe:
    @attr.frozen
    class Options:
        pass


class Bare:
    """A source that needs nothing to be said."""

    @attr.frozen
    class Options:
        loud: bool = option(Flag(), False)


class HTTPProbe:
    @attr.frozen
    class Options:
        method: str = option(
            Text(), "GET", positional=True, check=lambda m: None if m.isupper() else "not upper"
        )
        path: str = option(Text(), "/", positional=True)
        expect: tuple = option(Statuses(), ((200, 399),))
        header: str = option(Text(), "")
        body_regex: object = option(Pattern(), None)
        rise: int = option(Integer(), 77, "Never filled: the check's own has this name.")


SOURCES = {
    "dns": "names.DNSAddresses", "srv": "names.DNSService", "file": "files.ServerFile",
    "http": "web.HTTPList", "https": "web.HTTPSList", "consul": "consul.Consul",
    "docker": "docker.Docker",
}  # fmt: skip
REGISTRY = Registry(
    Extension(makes, name, factory if factory.startswith("lbtwist.") else f"{__name__}.{factory}")
    for makes, name, factory in (
        *((IServerSource, name, f"lbtwist.sources.{found}") for name, found in SOURCES.items()),
        (IServerSource, "broken", "NoSuchThing"),
        (IServerSource, "bare", "Bare"),
        (IBalancer, "roundrobin", "RoundRobin"),
        (IBalancer, "leastconn", "LeastConn"),
        (IBalancer, "hash", "Hash"),
        (IBalancer, "broken", "NoSuchThing"),
        (IHealthCheck, "tcp", "Probe"),
        (IHealthCheck, "http", "HTTPProbe"),
    )
)


def dump(value, indent=""):
    """The fields that compare and are not at their defaults, as indented lines."""
    lines = []
    for field in attr.fields(type(value)):
        found = getattr(value, field.name)
        default = field.default
        if isinstance(default, attr.Factory):
            default = default.factory()
        if not field.eq or found == default:
            continue
        if isinstance(found, dict):
            found = tuple(found.values())
        inside = found if isinstance(found, tuple) else (found,)
        if any(attr.has(type(one)) for one in inside):
            for one in inside:
                lines.append(f"{indent}{field.name}: {type(one).__qualname__}")
                lines += dump(one, indent + "    ")
        else:
            lines.append(f"{indent}{field.name} = {found!r}")
    return lines


def compare(path: Path, found: str) -> None:
    found = found.replace(f"{path.parent}/", "").replace(f"{GOLDEN}/", "../")
    expected = path.with_suffix(".expected")
    if os.environ.get("REGENERATE"):
        expected.write_text(found)
    assert found == expected.read_text()


def files(folder: str) -> list[str]:
    found = sorted(path.name for path in (GOLDEN / folder).glob("*.ini"))
    assert found
    return found


@pytest.mark.parametrize("name", files("good"))
def test_goodFile(name, monkeypatch):
    monkeypatch.chdir(GOLDEN / "good")
    # Wherever this tree is, its own path is not what is tested.
    monkeypatch.setattr(values, "UNIX_PATH_LIMIT", 4096)
    config, warnings = load(name, REGISTRY, ENVIRON)
    compare(GOLDEN / "good" / name, "\n".join([*dump(config), *map(str, warnings), ""]))


@pytest.mark.parametrize("name", files("bad"))
def test_badFile(name, monkeypatch):
    monkeypatch.chdir(GOLDEN / "bad")
    with pytest.raises(ConfigError) as raised:
        load(name, REGISTRY, ENVIRON)
    compare(GOLDEN / "bad" / name, "".join(f"{one}\n" for one in raised.value.problems))


def problems(text, **more):
    with pytest.raises(ConfigError) as raised:
        loadText(text, REGISTRY, **more)
    return [str(problem) for problem in raised.value.problems]


def config(text, **more) -> Config:
    return loadText(text, REGISTRY, **more)[0]


POOL = "[pool app]\nserver a = demo:one\n"


def test_messageNamesFileLineColumnSectionAndOption():
    assert problems(POOL + "balance = lestconn", name="etc/lb.ini") == [
        "etc/lb.ini:1:1: warning: [pool app] is used by no frontend",
        "etc/lb.ini:3:11: error: [pool app] balance: unknown 'lestconn', "
        "did you mean 'leastconn'?",
    ]


def test_unreadableFile(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.ini:1:1: error: .* No such file"):
        load(tmp_path / "none.ini", REGISTRY)
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, REGISTRY)


def test_relativePathsStartAtTheFile(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "lb.ini").write_text(
        "include = conf/a.ini\n[frontend www]\nbind = unix:w.sock\nlog = file:log/w\npool = app"
    )
    (tmp_path / "conf" / "a.ini").write_text("[pool app]\nserver a = unix:../run/a.sock")
    found, _ = load(tmp_path / "lb.ini", REGISTRY)
    assert found.frontends["www"].bind[0].path == str(tmp_path / "w.sock")
    assert found.frontends["www"].log[0].path == str(tmp_path / "log" / "w")
    assert found.pools["app"].servers[0].path == str(tmp_path / "run" / "a.sock")


def test_pathsOfTLSStartAtTheFile(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "lb.ini").write_text(
        "include = conf/tls.ini\n[pool app]\nserver a = a:443 tls ca=ca.pem certificate=/us.pem\n"
    )
    (tmp_path / "conf" / "tls.ini").write_text(
        "[tls site]\ncertificate = ../a.pem, b c.pem\n d\nkeylog = k\n"
        "name a = certificate=e,/f\n"
    )
    found, _ = load(tmp_path / "lb.ini", REGISTRY)
    site = found.tls["site"]
    conf = tmp_path / "conf"
    assert site.certificate == (
        str(tmp_path / "a.pem"), *(str(conf / name) for name in ("b", "c.pem", "d"))
    )  # fmt: skip
    assert site.keylog == str(conf / "k")
    assert site.names[0].certificate == (str(conf / "e"), "/f")
    server = found.pools["app"].servers[0]
    assert (server.ca, server.certificate) == (str(tmp_path / "ca.pem"), "/us.pem")


def test_noFileIsOpened():
    found = config(
        "[tls site]\ncertificate = /nonexistent/a.pem\n"
        "[frontend www]\nbind = :443 tls=site\npool = app\n"
        "[pool app]\nserver a = a:443 tls ca=/nonexistent/ca.pem\n"
    )
    assert found.tls["site"].certificate == ("/nonexistent/a.pem",)


def test_sectionsMayStandAfterThoseThatNameThem():
    one = "[frontend www]\nbind = :443 tls=site tcp=lan, :80\npool = app\n"
    two = "[tls site]\ncertificate = a.pem\n[tcp lan]\nmss = 1400\n"
    assert config(one + two + POOL) == config(two + POOL + one)


def test_theEmptyValueOfAServersTCPIsThePools():
    text = "[tcp lan]\n[pool app]\ntcp = lan\nserver a = a:1 tcp=\n"
    assert config(text).pools["app"].servers[0].tcp == ""


FLOORS = [
    # policy, minimum, maximum: what is wrong
    ("modern", "", "TLSv1.3", ""),
    ("modern", "", "TLSv1.2", "below the minimum, TLSv1.3, that of policy = modern"),
    ("modern", "TLSv1.2", "TLSv1.2", ""),
    ("intermediate", "", "TLSv1.2", ""),
    ("intermediate", "", "TLSv1.1", "below the minimum, TLSv1.2, that of policy = intermediate"),
    ("intermediate", "TLSv1.1", "", "SECLEVEL 0"),
    ("old", "", "TLSv1.0", ""),
    ("old", "TLSv1.0", "TLSv1.1", ""),
    ("old", "TLSv1.2", "TLSv1.1", "below the minimum, TLSv1.2"),
]


@pytest.mark.parametrize(("policy", "minimum", "maximum", "wrong"), FLOORS)
def test_versionsOfASectionAndOfAName(policy, minimum, maximum, wrong):
    said = {"policy": policy, "minimum": minimum, "maximum": maximum}
    section = "".join(f"{key} = {value}\n" for key, value in said.items() if value)
    name = " ".join(f"{key}={value}" for key, value in said.items() if value)
    for text in (section, f"name a.example = {name}\n"):
        whole = "[tls site]\ncertificate = a.pem\n" + text
        try:
            _, found = loadText(whole, REGISTRY)
        except ConfigError as error:
            found = error.problems
        messages = [one.message for one in found if "is used by no" not in one.message]
        assert len(messages) == bool(wrong)
        assert all(wrong in message for message in messages)


def test_pathsStayTheSameWhenTheDirectoryChanges(tmp_path, monkeypatch):
    (tmp_path / "lb.ini").write_text("[pool app]\nserver a = unix:a.sock\n")
    monkeypatch.chdir(tmp_path)
    first, _ = load("lb.ini", REGISTRY)
    monkeypatch.chdir("/")
    assert load(tmp_path / "lb.ini", REGISTRY)[0] == first


def test_configurationsThatSayTheSameAreEqual():
    one = config(
        "[defaults]\ntimeout-client = 1001ms\n"
        "[frontend www]\nbind = *:80, [::0:1]:81\npool = app\n"
        "[pool app]\nserver a = WWW.example:80 weight=2\n"
    )
    other = config(
        "; the same\n[backend app]\nMember a = www.EXAMPLE:80\n   weight='2'\nbalance=roundrobin\n"
        "[frontend www]\npool = app\ntimeout_client = 1.001s\nBIND =\n :80\n [::1]:81\n"
    )
    assert one == other


def test_writtenOrderIsKept():
    text = "".join(f"[pool {name}]\nserver s = demo:x\n" for name in "cab")
    assert list(config(text).pools) == ["c", "a", "b"]


def test_poolWithoutBalanceHasOptionsOfTheUsualOne():
    assert config(POOL).pools["app"].balance.options == RoundRobin.Options()
    bare = loadText(POOL, Registry([]))[0]
    assert bare.pools["app"].balance.options is None


def test_httpOnlyOptionsAreFieldsOfAFrontend():
    assert HTTP_ONLY < {field.name for field in attr.fields(FrontendConfig)}


@pytest.mark.parametrize("name", sorted(HTTP_ONLY - {"errorfiles"}))
def test_httpOnlyOptionInATCPFrontend(name):
    word = name.replace("_", "-")
    value = {
        "connect": "deny", "forwarded": "x", "trusted-proxies": "10.0.0.0/8",
        "redirect-https": "yes", "client-cert-headers": "x-ssl", "errors": "json",
        "http-ignore-probes": "yes", "connect-allow": "a:443", "connect-any-case": "yes",
        "traceparent": "make",
    }.get(word, "5")  # fmt: skip
    text = f"[frontend raw]\nbind = :1\nmode = tcp\npool = app\n{word} = {value}\n"
    assert problems(text + POOL) == [
        f"lb.ini:5:{len(word) + 4}: error: [frontend raw] {word}: says nothing in mode = tcp; "
        "remove it or write mode = http"
    ]
    needed = "connect = terminate\n" if word == "connect-allow" else ""
    assert config(text.replace("mode = tcp\n", needed) + POOL)
    inherited = config(f"[defaults]\n{word} = {value}\n" + text.rsplit(word, 1)[0] + POOL)
    default = attr.fields_dict(FrontendConfig)[name].default
    assert getattr(inherited.frontends["raw"], name) == default


@given(st.integers(0, 10**6), st.sampled_from(["us", "ms", "s", "m", "h", "d", ""]))
def test_timesRoundTrip(number, unit):
    seconds = {"us": 1e6, "ms": 1e3, "": 1e3, "s": 1, "m": 1 / 60, "h": 1 / 3600, "d": 1 / 86400}
    found = config(f"[global]\ngrace-period = {number}{unit}\n").settings.grace_period
    assert round(found * seconds[unit]) == number
    assert config(f"[global]\ngrace-period = {found:.6f}s\n").settings.grace_period == found


@given(st.integers(1, 10**6), st.sampled_from(["", "k", "m", "g", "K", "kb"]))
def test_sizesRoundTrip(number, unit):
    exponent = {"": 0, "k": 1, "m": 2, "g": 3}[unit.lower().rstrip("b")]
    text = "[frontend www]\nbind = :80\nmax-body = {}\n"
    found = config(text.format(f"{number}{unit}")).frontends["www"].max_body
    assert found == number * 1024**exponent == Size().parse(str(found))


@given(st.floats(0, 1e6).map(lambda number: round(number, 3)))
def test_fractionsOfSecondsAreExact(seconds):
    assert Time().parse(f"{seconds:.3f}s") == seconds
    assert Time().parse(f"{seconds * 1000:.0f}") == seconds


def onlyConfigErrors(text):
    try:
        found, warnings = loadText(text, REGISTRY, environ=ENVIRON)
    except ConfigError as error:
        assert any(problem.severity == "error" for problem in error.problems)
        for problem in error.problems:
            assert problem.where.line >= 1 and problem.where.column >= 1
            assert str(problem).encode("utf-8", "backslashreplace").startswith(b"lb.ini:")
    else:
        assert isinstance(found, Config)
        assert all(problem.severity == "warning" for problem in warnings)


@given(st.text())
@example("[pool app]\nserver a = unix:\ud800:1\n")
@example("include = \ud800/*\n")
@example("include = \ud800*\ninclude = \0*\ninclude = \ud800\n")
@example("[pool p]\ncheck = http body-regex='a{99999999999}'\n")
@example("[pool p]\ncheck = http body-regex=" + "(" * 5000 + ")" * 5000)
@example("[global]\nmaxconn = " + "9" * 5000)
@example("[global]\ngrace-period = " + "9" * 5000 + "d")
def test_anyTextIsConfigOrConfigError(text):
    onlyConfigErrors(text)


# No "include": what is on the disk is no part of this.
SCRAPS = st.sampled_from(
    "[pool app] [frontend www] [defaults] [global] [backend x] [pool [ ] = == , \" ' \\ ${ ${HOST} "
    "${PORTS} ${NONE} ${NONE:-1} $${ ; # bind server a member pool app balance check log mode "
    "roundrobin leastconn hash broken http tcp GET / field=X slow no-slow interval=1s rise=0 "
    "body-regex=( body-regex=a{99999999999} expect=200-299 :80 :1-3 [::1]:2 [::1 ]:3 unix: unix:x "
    "fd:3 systemd:x demo:a 127.0.0.1:80 a.b:80 1.2.3.4.5:80 weight=1 backup no-backup maxconn off "
    "stdout file: file:x format=json trusted-proxies 10.0.0.0/8 via max-uri 1k 5s 99999999999999d "
    "9 [tls [tcp [tls\u00a0x] certificate = key name *.example.com minimum=TLSv1.0 maximum=TLSv1.3 "
    "policy=old policy minimum client-verify client-ca tls=x tls tcp=x tcp alpn=h2 tls-passthrough "
    "accept-proxy accept-proxy=optional accept-proxy-from=10.0.0.0/8 interface=eth0 transparent "
    "sni=a verify=none ca=x send-proxy send-proxy=v2 send-proxy-options=ssl check-send-proxy "
    "source source=clientip 10.0.0.1:1-2 hdr_ip(X) keepalive mss redirect-https yes" .split(" ")
) | st.sampled_from(["\n", "\n", "\n ", " ", " = ", "\r\n", "\t", "\0", "\ud800", "é"])


@given(st.lists(SCRAPS, max_size=60).map("".join))
def test_scrapsOfConfigurationsAreConfigOrConfigError(text):
    onlyConfigErrors(text)


@given(st.binary(max_size=200))
@example(b"[frontend \xff]\nbind = :80\x00\n")
def test_anyBytesAreConfigOrConfigError(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.ini"
    path.write_bytes(data)
    try:
        load(path, REGISTRY, ENVIRON)
    except ConfigError as error:
        assert error.problems
