"""
Values of a configuration in words, and what is not said of them.
"""

import re

import attr
import pytest

from lbtwist import options
from lbtwist.config import model
from lbtwist.config.again import Share
from lbtwist.config.targets import Target
from lbtwist.config.worded import LONGEST, SECRET, UNSEEN, different, isSecret, worded
from lbtwist.interfaces import (
    IBalancer,
    IConnectionRule,
    IHealthCheck,
    IHealthObserver,
    IPersistence,
    IPersistenceStore,
    IRequestRule,
    IResponseRule,
    IServerSource,
    ISharedStore,
)
from lbtwist.options import (
    Access,
    Name,
    Percent,
    Redirect,
    Size,
    Statuses,
    Text,
    Time,
    option,
)
from lbtwist.registry import installed
from lbtwist.rules.template import Template
from lbtwist.sansio.errorfile import SILENCE, ErrorFile

REGISTRY = installed()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, None, "none"), ("", None, "none"), ((), None, "none"), (0, None, "0"),
        (True, None, "yes"), (False, None, "no"), (0.0, Time(), "0"), (0.25, Time(), "250ms"),
        (90.0, Time(), "90s"), (86400.0, Time(), "1d"), (1.5e-05, Time(), "15us"),
        (65536, Size(), "64k"), (1000, Size(), "1000"), (0, Size(), "0"), (0o660, Access(), "660"),
        (50, Percent(), "50%"), (0, Redirect(), "no"), (308, Redirect(), "308"),
        (((200, 299), (304, 304)), Statuses(), "200-299, 304"), ((b"h2", b"x"), None, "h2, x"),
        ("a\x1b[2Jb\nc", Text(), "a [2Jb c"), ((("gold", 4),), None, "gold:4"),
        (2.5, None, "2.5"), (10**15, None, "1000000000000000"),
    ],
)  # fmt: skip
def test_values(value, kind, text):
    assert worded(value, kind) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (model.Bind("tcp", "::1", 80, tls="site"), "[::1]:80 tls=site"),
        (model.AdminBind("unix", path="/run/x", mode=0o660), "unix:/run/x mode=660"),
        (model.AuditTarget("/var/log/audit"), "file:/var/log/audit"),
        (model.LogTarget("stdout"), "stdout"),
        (model.LogTarget("udp", host="::1", port=514, options=model.LogOptions(format="json")),
         "udp:[::1]:514 format=json"),
        (model.Export("statsd", model.StatsDOptions(tags="dogstatsd"), "127.0.0.1", 8125),
         "127.0.0.1:8125 tags=dogstatsd"),
        (model.Collector("http://h/v1", model.OTLPOptions("edge")), "http://h/v1 service=edge"),
        (model.Source("field", field="X-Client"), "hdr_ip(X-Client)"),
        (model.Source("address", "::1", 1024, 2048), "[::1]:1024-2048"),
        (Target("*.example.com", None, 443, 443), "*.example.com:443"),
        (Target("*"), "*:*"), (Share(20, 3), "20% min 3/s"), (SILENCE, "closes"),
        (ErrorFile(503, b"", b"sorry"), "503, 5 bytes"), (model.OutlierOptions(), "on"),
        (model.Combination(2, (model.PartAt(model.Part("tcp", None), 81),) * 3),
         "2 of (tcp port=81, tcp port=81, tcp port=81)"),
        (model.Combination(1, (model.Part("a", None), model.Part("b", None))), "(a or b)"),
        (model.ServerConfig("s", "tcp", "127.0.0.1", 80, check=False, alpn=(b"h2", b"http/1.1")),
         "127.0.0.1:80 no-check alpn=h2,http/1.1"),
        (re.compile("a b"), "a b"), (Template.parse("{path} x"), "{path} x"),
    ],
)  # fmt: skip
def test_partsOfAConfiguration(value, text):
    assert worded(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Basic realm", "Basic realm"), ("Authorization: Basic hush", "Authorization***"),
        ("AUTH hush\r\n", "AUTH***"), ("user=a password=hush", "user=a password***"),
        ('header["x-api-key"] == "hush"', 'header["x-api-key***'),
        ('set-header X-Auth-Key hush', "set-header X-Auth***"), ("Bearer hush", "Bearer***"),
        ("http://user:hush@host/path", "http://***@host/path"),
        ("secret-file=/etc/lb/secret", "secret-file=/etc/lb/secret"),
    ],
)  # fmt: skip
def test_whatMayBeSecretInAText(text, shown):
    assert worded(text, Text()) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (("--user", "a", "--password", "hush"), "--user, a, --password***"),
        ((b"AUTH hush\r\n", b"PING\r\n"), "AUTH***"),
        ((("authorization", "hush"),), "authorization***"),
    ],
)
def test_whatMayBeSecretInSeveral(value, shown):
    assert worded(value, Text()) == shown


def test_aPathIsNoSecret():
    assert worded("/etc/secrets/token.pem", options.Path()) == "/etc/secrets/token.pem"
    assert worded("token-service", Name()) == "token-service"


def test_aSecretIsShownToNobody():
    assert worded("hush", options.Secret()) == SECRET
    assert worded("", options.Secret()) == "none"


def test_longValuesAreCutToWhereTheyDiffer():
    same = "x" * 500
    before, after = different(f"{same}before{same}", f"{same}after{same}")
    assert before == f"...{'x' * 20}before{'x' * (LONGEST - 26)}..."
    assert after == f"...{'x' * 20}after{'x' * (LONGEST - 25)}..."


def test_valuesThatLookAlikeAreToldApart():
    assert different(SECRET, SECRET) == (SECRET, f"{SECRET} {UNSEEN}")


INTERFACES = (
    IBalancer, IPersistence, IPersistenceStore, ISharedStore, IHealthCheck, IHealthObserver,
    IServerSource, IConnectionRule, IRequestRule, IResponseRule,
)  # fmt: skip


def test_optionsWithSecretsAreThose():
    found = {
        (name, field.name)
        for makes in INTERFACES
        for name in REGISTRY.names(makes)
        for field in attr.fields(REGISTRY.find(makes, name).options)
        if isSecret(field.name, field.metadata.get("kind"))
    }
    assert found == {
        ("cookie", "secret"), ("redis", "password"), ("postgresql", "password"),
        ("webhook", "url"),
    }  # fmt: skip


def test_anOptionMayBeSecretByItsName():
    @attr.frozen
    class Options:
        api_key: str = option(Text(), "")
        token: str = option(options.Path(), "")

    fields = attr.fields(Options)
    assert isSecret("api_key", fields.api_key.metadata["kind"])
    assert not isSecret("token", fields.token.metadata["kind"])
    assert worded(model.Part("x", Options("hush", "/t"))) == f"x api-key={SECRET} token=/t"
