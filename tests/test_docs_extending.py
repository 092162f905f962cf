"""
C{docs/extending.md}: the parts, methods and fields in its tables are those that there are;
its example for stores is one. What it lists as a whole is tested by C{test_listings}.
"""

import re
import unittest
from pathlib import Path

import attr
from twisted.internet.task import Clock

from lbtwist import interfaces, testing
from lbtwist.health import Admin, Result
from lbtwist.interfaces import IPersistenceStore
from lbtwist.registry import Context
from lbtwist.stores.memory import MemoryStore

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "extending.md").read_text()


def section(title):
    [text] = re.findall(rf"^##? {title}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    return text


def rows(title):
    """@return: the cells of the first table of a section, without its head."""
    table = re.search(r"^\|[^\n]*\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", section(title), re.M)[1]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]


def named(cell):
    return re.findall("`([^`]+)`", cell)


def test_partsAndContracts():
    found = set()
    for _, provided, _, contract in rows("Parts of your own"):
        for name in named(provided):
            assert hasattr(interfaces, name)
        for name in named(contract):
            assert hasattr(testing, name)
            found.add(name)
    assert found == {name for name in testing.__all__ if name.endswith("Contract")}


def test_fieldsOfAResult():
    names = [named(first)[0] for first, _ in rows("A health check")]
    given = [field.name for field in attr.fields(Result)]
    assert sorted(names) == sorted(set(given) - {"duration", "at"})
    said = re.search(r"^`None` for (.*?), as they are", section("A health check"), re.M)[1]
    assert named(said) == [f.name for f in attr.fields(Result) if f.default is None]
    states = {value.upper() for name, value in vars(Admin).items() if name.isupper()}
    assert states == set(re.findall("[A-Z]{4,}", dict(rows("A health check"))["`admin`"]))


def test_methodsOfPersistence():
    said = {}
    for method, of, _ in rows("A kind of persistence"):
        if of:
            said.setdefault(named(of)[0], set()).add(named(method)[0])
    for name, methods in said.items():
        interface = getattr(interfaces, name)
        assert methods == {
            f"{method}({', '.join(interface[method].positional)})" for method in interface.names()
        }
    assert set(said) == {"IPersistence", "IClaiming", "IResponseRule", "IInspecting"}


def test_methodsOfAStore():
    methods = {named(first)[0] for first, _ in rows("A store")}
    assert methods == {
        name if name == "size" else f"{name}({', '.join(IPersistenceStore[name].positional)})"
        for name in IPersistenceStore.names()
    }


def test_theContractOfStores():
    """As the page mixes it in, it tests a store, and all of it passes."""
    [example] = [code for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
                 if "(StoreContract" in code]  # fmt: skip
    names = {
        "StoreContract": testing.StoreContract, "Clock": Clock, "Context": Context,
        "MyStore": MemoryStore,
    }  # fmt: skip
    exec(example, names)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(names["MyStoreTests"])
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun > 5
    assert (result.errors, result.failures) == ([], [])
