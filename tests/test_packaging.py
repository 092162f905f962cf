"""
What C{pip} makes of this tree: both kinds of install leave a working C{twistd lbtwist}
and C{lbtwist}, seen from another directory, and an uninstall leaves Twisted as it was.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("lbtwist", "twisted", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")

PLUGINS = """
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
print(*sorted(maker.tapname for maker in getPlugins(IServiceMaker)))
"""

# Every file that pip noted of Twisted is still there.
TWISTED_FILES = """
from importlib.metadata import files
print([str(f) for f in files("twisted") if f.suffix == ".py" and not f.locate().exists()])
"""

pytestmark = pytest.mark.timeout(300)


class Environment:
    """A fresh virtual environment, used from a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.elsewhere = directory.with_name(f"elsewhere-of-{directory.name}")
        self.elsewhere.mkdir()
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)

    def run(self, program, *arguments):
        """@return: the status, and all that was printed."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [self.directory / "bin" / program, *arguments],
            cwd=self.elsewhere,
            env=inherited,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def python(self, code):
        """@return: what the code printed."""
        status, printed = self.run("python", "-W", "error", "-c", code)
        assert status == 0, printed
        return printed.strip()

    def pip(self, *arguments):
        status, printed = self.run("pip", "--disable-pip-version-check", *arguments)
        assert status == 0, printed

    def sitePackages(self):
        return Path(self.python("import sysconfig; print(sysconfig.get_path('purelib'))"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is packaged: a build leaves directories behind."""
    copy = tmp_path_factory.mktemp("tree")
    leftOut = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=leftOut)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def regular(tree, tmp_path_factory):
    made = Environment(tmp_path_factory.mktemp("venvs") / "regular")
    made.pip("install", "--no-compile", str(tree))
    return made


@pytest.fixture(scope="module")
def editable(tree, tmp_path_factory):
    made = Environment(tmp_path_factory.mktemp("venvs") / "editable")
    made.pip("install", "--no-compile", "--editable", str(tree))
    return made


@pytest.fixture(params=["regular", "editable"])
def installed(request):
    return request.getfixturevalue(request.param)


def test_twistdKnowsIt(installed):
    status, printed = installed.run("twistd", "lbtwist", "--help")
    assert status == 0, printed
    assert "--config" in printed


def test_itsOwnCommandStarts(installed):
    status, printed = installed.run("lbtwist", "--help")
    assert status == 0, printed
    assert "check" in printed


def test_itStartsAsAModule(installed):
    status, printed = installed.run("python", "-m", "lbtwist", "--help")
    assert status == 0, printed
    assert "check" in printed


def test_getPluginsFindsTheServiceMaker(installed):
    assert "lbtwist" in installed.python(PLUGINS).split()


def test_theTypesAreForOthersToo(installed):
    found = installed.python("import lbtwist, os; print(os.listdir(lbtwist.__path__[0]))")
    assert "py.typed" in found


def test_thePageIsThere(installed):
    found = installed.python("from lbtwist.admin.web.page import FILES; print(*FILES)")
    names = {path.rpartition("/")[2] for path in found.split()}
    assert {"page.js", "page.css", "uPlot.iife.min.js", "uPlot.LICENSE.txt"} <= names


def test_theEditableInstallIsTheTree(editable, tree):
    assert editable.python("import lbtwist; print(lbtwist.__file__)").startswith(str(tree))


def test_theWheelHoldsOneFileOfTwisted(regular):
    theirs = regular.python(
        "from importlib.metadata import files; "
        "print(*[f for f in files('lbtwist') if f.parts[0] == 'twisted'])"
    )
    assert theirs.split() == ["twisted/plugins/lbtwist_plugin.py"]


def test_noInitializerBelowTwisted():
    assert list(ROOT.glob("twisted/**/__init__.py")) == []


def test_uninstallLeavesTwistedIntact(tree, tmp_path):
    environment = Environment(tmp_path / "removed")
    environment.pip("install", "--no-compile", str(tree))
    packages = environment.sitePackages()
    assert (packages / "twisted" / "plugins" / "lbtwist_plugin.py").exists()

    environment.pip("uninstall", "-y", "lbtwist")

    assert environment.python(TWISTED_FILES) == "[]"
    assert not (packages / "twisted" / "plugins" / "lbtwist_plugin.py").exists()
    assert not (packages / "lbtwist").exists()
    left = environment.python(PLUGINS).split()
    assert "lbtwist" not in left
    assert "web" in left
