"""
C{docs/rules.md} names every verb, value, function and method there is and no other; its
examples are accepted.
"""

import re
from itertools import groupby
from pathlib import Path

import attr
import pytest
from asked import exchange, value

from lbtwist.config.fill import optionFields
from lbtwist.config.load import load
from lbtwist.config.model import RuleOptions
from lbtwist.errors import ConfigError
from lbtwist.options import Flag
from lbtwist.registry import installed
from lbtwist.rules.functions import FUNCTIONS, METHODS
from lbtwist.rules.rulebook import ASKED
from lbtwist.rules.values import POOL_METHODS, POOL_VALUES, VALUES, Kind, Stage

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "rules.md").read_text()
CELL = re.compile(r"(?<!\\)\|")
REGISTRY = installed()


def section(title):
    """@return: the text below a heading, up to the next of any depth."""
    [found] = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.S | re.M)
    return found


def table(title):
    """@return: the rows of the table below a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    cells = [CELL.split(line.strip().strip("|")) for line in lines[2:]]
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in cells]


def word(name, field):
    """@return: how an option of a verb is written."""
    form = field.metadata["kind"].form
    if field.metadata["positional"]:
        written = form
    elif isinstance(field.metadata["kind"], Flag):
        written = name
    else:
        written = f"{name}={form}"
    return written if field.default is attr.NOTHING else f"[{written}]"


def verbs():
    """@return: each form of a verb, with the lists in which it is written so."""
    for name in sorted({name for makes, _ in ASKED.values() for name in REGISTRY.names(makes)}):
        forms = []
        for stage, (makes, _) in ASKED.items():
            if name in REGISTRY.names(makes):
                options = optionFields(REGISTRY.find(makes, name).options)
                form = " ".join([name, *(word(*one) for one in options.items())])
                forms.append((form, stage.value))
        for form, stages in groupby(forms, key=lambda one: one[0]):
            yield [f"`{form}`", ", ".join(stage for _, stage in stages)]


def test_verbsAreThoseThatAreInstalled():
    rows = table("Verbs that decide") + table("Verbs that change")
    assert sorted(row[:2] for row in rows) == sorted(verbs())
    assert all(len(row) == 3 and row[2].endswith(".") for row in rows)


@pytest.mark.parametrize("title", ["Verbs that decide", "Verbs that change"])
def test_verbsThatDecideAreSaidTo(title):
    for form, stages, _ in table(title):
        makes, _ = ASKED[Stage(stages.split(", ")[0])]
        extension = REGISTRY.find(makes, form.strip("`").split()[0])
        assert not extension.decides or title == "Verbs that decide", form


def test_valuesAreThoseThereAre():
    titles = ("Of the connection", "Of the request", "Of the response")
    for title, stage in zip(titles, (Stage.CONNECTION, Stage.REQUEST, Stage.RESPONSE), strict=True):
        rows = [
            [f"`{one.name}`" if one.kind is not Kind.FIELDS else f'`{one.name}["NAME"]`',
             one.kind.value, one.meaning]
            for one in VALUES.values() if one.stage is stage
        ]  # fmt: skip
        assert table(title) == rows
        assert {one.http for one in VALUES.values() if one.stage is stage} == {
            stage is not Stage.CONNECTION
        }


def test_valuesOfPoolsAreThoseThereAre():
    rows = [[f'`pool("NAME").{name}`', meaning] for name, (_, meaning) in POOL_VALUES.items()]
    rows += [
        [f'`pool("NAME").{name}("TEXT")`', meaning] for name, (_, meaning) in POOL_METHODS.items()
    ]
    assert table("Of a pool") == rows


def test_functionsAreThoseThereAre():
    assert table("Functions") == [[f"`{one.form}`", one.meaning] for one in FUNCTIONS.values()]


def test_methodsAreThoseThereAre():
    rows = [[f"`.{name}`", one.gives.value, one.meaning] for name, one in METHODS.items()]
    assert table("Methods of a text") == rows


def test_optionsOfVerbsThatWaitAreNamed():
    text = section("Verbs that have to wait")
    for name, field in optionFields(RuleOptions).items():
        assert f"`{name}={field.metadata['kind'].form}`".replace("|", "\\|") in text or (
            f"`{name}={field.metadata['kind'].form}`" in text
        )


# examples


def accepted(tmp_path, text):
    """@return: what is wrong with a configuration, but for what it leaves out."""
    for name, content in {
        "hosts.map": "a.example.com app\n", "inside.txt": "10.0.0.0/8\n", "robots.txt": "x\n",
        "bots.txt": "curl/8\n", "users.htpasswd": "a:$2y$05$" + "a" * 53 + "\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)
    if "[frontend" not in text:
        text = "[frontend www]\nbind = :80\npool = app\n" + text
    for pool in ("app", "chat", "api"):
        if f"[pool {pool}]" not in text and pool in text:
            text += f"\n[pool {pool}]\nserver a = 127.0.0.1:8001\n"
    path = tmp_path / "lb.ini"
    path.write_text(text)
    try:
        _, problems = load(path, REGISTRY)
    except ConfigError as error:
        problems = error.problems
    ignored = ("is used by no", "is asked for by no", "is what any client likes to say")
    return [str(one) for one in problems if not any(words in one.message for words in ignored)]


@pytest.mark.parametrize(
    "text",
    re.findall(r"^```ini\n(.*?)^```", PAGE, re.S | re.M),
    ids=lambda text: text.strip().replace("\n", " ")[:60],
)
def test_examplesAreAccepted(text, tmp_path):
    assert accepted(tmp_path, text) == []


LISTS = {"connection", "request", "response"}


@pytest.mark.parametrize("row", table("From other programs"), ids=lambda row: row[0][:60])
def test_translationsAreAccepted(row, tmp_path):
    _, name, lines = row
    assert name in LISTS
    found = re.findall(r"`([^`]+)`", lines)
    assert accepted(tmp_path, f"{name} =\n" + "".join(f"    {one}\n" for one in found)) == []


@pytest.mark.parametrize("block", re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M))
def test_expressionsAreAccepted(block):
    files = {"inside.txt": "10.0.0.0/8\n", "hosts.map": "a b\n", "bots.txt": "curl\n"}
    of = exchange(response=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    for line in block.splitlines():
        value(line, of, stage=Stage.RESPONSE, files=files)
