"""
C{docs/configuration.md} names every option there is and no other, with the right
values and defaults; its examples, and C{etc/lb.ini}, are accepted.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import attr
import pytest

from lbtwist.config.fill import optionFields
from lbtwist.config.load import HTTP_ONLY, load, loadText
from lbtwist.config.model import (
    AdminOptions,
    BindOptions,
    CheckOptions,
    EventLogOptions,
    FrontendConfig,
    GlobalConfig,
    GraphiteOptions,
    LogOptions,
    NotifyOptions,
    OTLPOptions,
    OutlierOptions,
    PoolConfig,
    RuleOptions,
    ServerOptions,
    ServersOptions,
    StatsDOptions,
    StoreConfig,
    TCPConfig,
    TLSConfig,
    TLSName,
)
from lbtwist.config.queues import FairOptions
from lbtwist.config.rules import RuleLists
from lbtwist.config.sections import NOT_INHERITED
from lbtwist.errors import ConfigError
from lbtwist.interfaces import (
    IBalancer,
    IHealthCheck,
    IHealthObserver,
    IPersistence,
    IPersistenceStore,
    IServerSource,
    ISharedStore,
)
from lbtwist.options import Flag
from lbtwist.registry import installed

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "configuration.md").read_text()
HEADING = re.compile(r"^(#{2,4}) `?([^`\n]+)`?\n", re.M)

SECTIONS = {
    "[global]": (
        GlobalConfig,
        {
            "admin = ADDRESS [OPTION ...]": AdminOptions,
            "audit = TARGET": None,
            "event-log = TARGET [OPTION ...]": EventLogOptions,
            "statsd = HOST:PORT [OPTION ...]": StatsDOptions,
            "graphite = HOST:PORT [OPTION ...]": GraphiteOptions,
            "otlp = URL [OPTION ...]": OTLPOptions,
        },
    ),
    "[frontend NAME]": (
        FrontendConfig,
        {
            "bind = ADDRESS [OPTION ...]": BindOptions,
            "pool = NAME": None,
            "log = TARGET [OPTION ...]": LogOptions,
            "log-format = TEXT": None,
            "log-format-sd = TEXT": None,
            "errorfile-NNN = PATH": None,
            "connection = RULE": None,
            "request = RULE": RuleOptions,
            "response = RULE": None,
            "rules = NAME, ...": None,
        },
    ),
    "[pool NAME]": (
        PoolConfig,
        {
            "server NAME = ADDRESS [OPTION ...]": ServerOptions,
            "servers NAME = SOURCE [OPTION ...]": ServersOptions,
            "balance = BALANCER [OPTION ...]": None,
            "check = CHECK [OPTION ...]": CheckOptions,
            "persist = KIND [OPTION ...], ...": None,
            "persist-store = STORE [OPTION ...]": None,
            "notify = OBSERVER [OPTION ...]": NotifyOptions,
            "outlier = on|off [OPTION ...]": OutlierOptions,
            "queue = fifo|fair(EXPRESSION) [OPTION ...]": FairOptions,
            "request = RULE": None,
            "response = RULE": None,
            "rules = NAME, ...": None,
        },
    ),
    "[tls NAME]": (TLSConfig, {"name PATTERN = OPTION ...": TLSName}),
    "[tcp NAME]": (TCPConfig, {}),
    "[store NAME]": (StoreConfig, {"kind = KIND [OPTION ...]": None}),
    "[rules NAME]": (
        RuleLists, {"connection = RULE": None, "request = RULE": None, "response = RULE": None},
    ),
    "[conditions]": (RuleLists, {"NAME = EXPRESSION": None}),
}
# What events have in common with exchanges is described there.
SHARED = {EventLogOptions}
INHERITING = {"[frontend NAME]", "[pool NAME]"}
PARTS = {
    "Balancers": (IBalancer, "balance"),
    "Persistence": (IPersistence, "persist"),
    "Checks": (IHealthCheck, "check"),
    "Observers": (IHealthObserver, "notify"),
    "Sources": (IServerSource, "servers NAME"),
    "Stores": (IPersistenceStore, "persist-store"),
    "Shared stores": (ISharedStore, "kind"),
}


def chapters():
    """The text under each heading, by the headings above it and its own."""
    found = {}
    above = ()
    places = [*HEADING.finditer(PAGE), None]
    for match, following in pairwise(places):
        above = (*above[: len(match[1]) - 2], match[2])
        text = PAGE[match.end() : following.start() if following else None]
        assert above not in found, f"{above} is there twice"
        found[above] = text
    return found


CHAPTERS = chapters()


def under(*above):
    return {path[-1] for path in CHAPTERS if path[:-1] == above}


def fieldsOf(cls):
    """The options of a class that are described with it."""
    return {
        word: field for word, field in optionFields(cls).items()
        if cls not in SHARED or not field.inherited
    }  # fmt: skip


def signatures(cls, equals):
    return {
        f"{word}{equals}{field.metadata['kind'].form}" for word, field in fieldsOf(cls).items()
    }


def described():
    """Each option that has fields: where it is described, and its field."""
    for section, (cls, special) in SECTIONS.items():
        for word, field in optionFields(cls).items():
            yield (section, f"{word} = {field.metadata['kind'].form}"), field
        for heading, options in special.items():
            for word, field in fieldsOf(options).items() if options else ():
                yield (section, heading, f"{word}={field.metadata['kind'].form}"), field


DESCRIBED = [pytest.param(*one, id=" ".join(one[0])) for one in described()]


def test_chaptersAreTheSectionsAndTheParts():
    assert under() == {"The file", "[defaults]", *SECTIONS, *PARTS}


@pytest.mark.parametrize("section", SECTIONS)
def test_optionsOfASectionAreItsFields(section):
    cls, special = SECTIONS[section]
    assert under(section) == signatures(cls, " = ") | set(special)
    for heading, options in special.items():
        assert under(section, heading) == (signatures(options, "=") if options else set())


@pytest.mark.parametrize(("path", "field"), DESCRIBED)
def test_defaultIsTheFields(path, field):
    [said] = re.findall(r"^- Values: .*; default (`[^`]+`|empty)$", CHAPTERS[path], re.M)
    if said == "empty":
        assert field.default in ("", ())
    else:
        assert field.metadata["kind"].parse(said.strip("`")) == field.default


@pytest.mark.parametrize(("path", "field"), DESCRIBED)
def test_meaningOfABareWordIsTheFields(path, field):
    if len(path) == 3 and field.metadata["bare"]:
        word = path[-1].partition("=")[0]
        [said] = re.findall(r"^- Values: (.*)$", CHAPTERS[path], re.M)
        bare = re.search(rf"the bare word(?: `{word}`)? is `?(\w+)`?", said)
        assert bare[1] == field.metadata["bare"]


@pytest.mark.parametrize(("path", "field"), DESCRIBED)
def test_placesAreThoseWhereItIsAccepted(path, field):
    [said] = re.findall(r"^- Where: (.*)$", CHAPTERS[path], re.M)
    if len(path) == 3:
        assert f"`{path[1].split()[0]}`" in said
        return
    inherits = path[0] in INHERITING and (SECTIONS[path[0]][0], field.name) not in NOT_INHERITED
    places = {f"`{path[0]}`"} | ({"`[defaults]`"} if inherits else set())
    assert set(re.findall(r"`\[[^`]+`", said)) == places
    onlyHTTP = path[0] == "[frontend NAME]" and field.name in HTTP_ONLY
    assert ("with `mode = http`" in said) == onlyHTTP


def form(text):
    """What every description of an option has, in this order."""
    return re.fullmatch(
        r"\n[A-Z][^\n]+(?:\n[^\n]+)*[.;]\n"
        r"(?:\n- Where: [^\n]+\n- Values: [^\n]+\n)?"
        r"(?:\n\|[^`]*(?:\|[^\n]+\n)+)?"
        r"(?:\n(?!```|[-|])[^\n]+(?:\n[^\n]+)*\n)+"
        r"\n```ini\n(?:[^`]+)```\n\n?",
        text,
    )


@pytest.mark.parametrize("path", [path for path in CHAPTERS if len(path) > 1], ids=" ".join)
def test_everyOptionHasTheOneForm(path):
    assert form(CHAPTERS[path]), CHAPTERS[path]
    advice = CHAPTERS[path].partition("- Values:")[2].partition("\n")[2] or CHAPTERS[path]
    assert re.search(r"[0-9]", advice.partition("```")[0]), "advice without a number"


def partOf(heading):
    """@return: the word that names a part, which in front of a colon has its own argument."""
    return re.split("[ :]", heading.partition(" = ")[2])[0]


def parts():
    registry = installed()
    for chapter, (makes, key) in PARTS.items():
        for name in registry.names(makes):
            yield chapter, key, name, registry.find(makes, name).options


@pytest.mark.parametrize("chapter", PARTS)
def test_partsAreThoseThatAreInstalled(chapter):
    makes, key = PARTS[chapter]
    names = {partOf(heading) for heading in under(chapter)}
    assert names == set(installed().names(makes)) != set()
    assert all(heading.startswith(f"{key} = ") for heading in under(chapter))


def test_optionsOfPartsAreTheirFields():
    for chapter, key, name, options in parts():
        [heading] = [one for one in under(chapter) if partOf(one) == name]
        fields = optionFields(options)
        positional = [w.upper() for w, f in fields.items() if f.metadata["positional"]]
        others = ["[OPTION ...]"] if len(fields) > len(positional) else []
        words = [f"{name}:{positional[0]}"] if chapter == "Sources" else [name, *positional]
        assert heading == " ".join([key, "=", *words, *others])
        assert under(chapter, heading) == signatures(options, "="), name


def test_defaultsOfPartsAreTheirFields():
    for chapter, _, name, options in parts():
        [heading] = [one for one in under(chapter) if partOf(one) == name]
        for word, field in optionFields(options).items():
            kind = field.metadata["kind"]
            text = CHAPTERS[chapter, heading, f"{word}={kind.form}"]
            if field.default is attr.NOTHING:
                assert "; there is no default\n" in text
                continue
            [said] = re.findall(r"^- Values: .*; default (`[^`]+`|empty)$", text, re.M)
            if said == "empty":
                assert field.default in ("", (), None)
            else:
                assert kind.parse(said.strip("`")) == field.default


def test_flagsAreSaidToBeBareWords():
    for path, field in described():
        if len(path) == 3 and isinstance(field.metadata["kind"], Flag):
            word = path[-1].partition("=")[0]
            assert re.search(rf"`(no-)?{word}` is", CHAPTERS[path])


EXAMPLES = re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M)
# What an example leaves out, because it is not what it shows.
LEFT_OUT = (
    "has no bind", "has no server", "has no pool", "there is no [", "is used by no", "No such file",
)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.replace("\n", " ").strip())
def test_examplesAreAccepted(text):
    try:
        _, problems = loadText(text, installed())
    except ConfigError as error:
        problems = error.problems
    if any("needs txredisapi" in one.message for one in problems):
        pytest.skip("could not import 'txredisapi'")
    assert [str(one) for one in problems if not any(w in one.message for w in LEFT_OUT)] == []


def test_firstExampleIsComplete():
    _, warnings = loadText(EXAMPLES[0], installed())
    assert warnings == []


def test_annotatedFile():
    config, warnings = load(ROOT / "etc" / "lb.ini", installed())
    assert warnings == []
    assert [(f.mode, str(f.bind[0])) for f in config.frontends.values()] == [
        ("http", ":8080"), ("tcp", ":8081"),
    ]  # fmt: skip
    assert [server.kind for server in config.pools["app"].servers] == ["demo", "demo"]
    assert config.pools["app"].check.timing.interval == 2.0
