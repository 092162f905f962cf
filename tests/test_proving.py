"""
What is wrong with a file that does not run yet, and that nothing is done but to read.
"""

import os

import pytest
from authority import Authority, pem

from lbtwist.admin.proving import Proved, isFile, objectOf, prove
from lbtwist.config.model import Config
from lbtwist.errors import NOWHERE, Problem
from lbtwist.registry import installed

REGISTRY = installed()
CONFIG = """\
[frontend www]
bind = 127.0.0.1:0 tls=site
log = file:access.log
pool = app
[tls site]
certificate = site.pem
[pool app]
server a = 127.0.0.1:1 tls sni=a.test ca=ca.pem
server b = 127.0.0.1:2 tls sni=b.test ca=ca.pem
"""


@pytest.fixture
def proved(tmp_path):
    authority = Authority()
    authority.issue("site.test").write(tmp_path / "site.pem")
    (tmp_path / "ca.pem").write_bytes(pem(authority.certificate))

    def prove_(text, before=None):
        path = tmp_path / "new.ini"
        path.write_text(text)
        return prove(str(path), REGISTRY, before or Config())

    return prove_


def problemsOf(found):
    return [(problem.where.line, problem.severity, problem.message) for problem in found.problems]


def test_aGoodOne(proved, tmp_path):
    found = proved(CONFIG)
    assert problemsOf(found) == []
    assert list(found.config.pools) == ["app"]


def test_nothingIsWritten(proved, tmp_path):
    text = CONFIG.replace("certificate = site.pem", "certificate = site.pem\nkeylog = keys.log")
    assert proved(text).config.tls["site"].keylog == str(tmp_path / "keys.log")
    assert sorted(os.listdir(tmp_path)) == ["ca.pem", "new.ini", "site.pem"]


def test_warnings(proved):
    found = proved(f"{CONFIG}[pool more]\nserver x = demo:x\n")
    assert found.config is not None
    assert problemsOf(found) == [(10, "warning", "[pool more] is used by no frontend")]


def test_whatIsWritten(proved):
    found = proved(CONFIG.replace("pool = app", "pool = ap"))
    assert found.config is None
    assert (4, "error") in [problem[:2] for problem in problemsOf(found)]


def test_aCertificate(proved, tmp_path):
    (tmp_path / "site.pem").write_text("nothing")
    found = proved(CONFIG)
    assert found.config is None
    [(line, severity, message)] = problemsOf(found)
    assert (line, severity) == (5, "error")
    assert message.startswith(f"{tmp_path}/site.pem: ")


def test_aSectionThatNobodyUses(proved):
    found = proved(f"{CONFIG}[tls more]\ncertificate = more.pem\n")
    assert [severity for _, severity, _ in problemsOf(found)] == ["warning"]


def test_anAuthorityIsToldOfOnce(proved, tmp_path):
    (tmp_path / "ca.pem").unlink()
    [(line, severity, message)] = problemsOf(proved(CONFIG))
    assert (line, severity) == (8, "error")
    assert f"{tmp_path}/ca.pem: " in message


def test_serversThatStayAreNotReadAgain(proved, tmp_path):
    before = proved(CONFIG).config
    (tmp_path / "ca.pem").unlink()
    assert problemsOf(proved(CONFIG, before)) == []
    changed = proved(CONFIG.replace("sni=b.test", "sni=other.test"), before)
    assert [line for line, _, _ in problemsOf(changed)] == [9]


def test_anInterfaceThatIsNotThere(proved):
    found = proved(CONFIG.replace("127.0.0.1:2 tls sni=b.test ca=ca.pem", "[fe80::1%nothere0]:2"))
    assert [(line, severity) for line, severity, _ in problemsOf(found)] == [(9, "error")]


def test_aFileThatIsNotThere(tmp_path):
    found = prove(str(tmp_path / "none.ini"), REGISTRY, Config())
    assert found.config is None
    assert len(found.problems) == 1


def test_whatIsAFile(tmp_path):
    path = tmp_path / "file"
    assert not isFile(str(path))
    path.write_text("")
    assert isFile(str(path))
    assert not isFile(str(tmp_path))
    assert not isFile("/dev/null")
    assert not isFile("\0")


def test_aProblemInJSON():
    assert objectOf(Problem(NOWHERE, "wrong")) == {
        "severity": "error", "file": "", "line": 0, "column": 0, "message": "wrong"
    }  # fmt: skip
    assert Proved(None).problems == ()
