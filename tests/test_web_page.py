"""
L{lbtwist.admin.web.page}: files that are as they should be without a browser having to say it.
What they do is seen in one, see C{tests/loopback/test_page_*.py}.
"""

import re
from pathlib import Path

import pytest

from lbtwist.admin.web.page import FILES, POLICY, _read, cachingOf

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "lbtwist" / "admin" / "web" / "static"
OURS = sorted(path for path in STATIC.glob("*.*") if not path.name.startswith("uPlot"))

PAGE = FILES["/"][1].decode()


def test_everyFileIsThere():
    names = {path.rpartition("/")[2] for path in FILES}
    assert names == {path.name for path in STATIC.iterdir()} - {"index.html"} | {""}


def test_eachHasItsType():
    kinds = {path.rpartition(".")[2]: kind for path, (kind, _) in FILES.items() if path != "/"}
    assert kinds == {
        "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml", "txt": "text/plain; charset=utf-8",
    }  # fmt: skip
    assert FILES["/"][0] == "text/html; charset=utf-8"


def test_whatThePageNamesIsThere():
    named = re.findall(r'(?:src|href)="([^"#]+)"', PAGE)
    assert named
    assert [one for one in named if f"/{one}" not in FILES] == []


def test_modulesNameEachOther():
    for path in STATIC.glob("*.js"):
        for one in re.findall(r'from "\./([^"]+)"', path.read_text()):
            assert (STATIC / one).exists(), f"{path.name}: {one}"


def test_theirAddressIsWhatIsInThem(tmp_path):
    def made(text):
        (tmp_path / "index.html").write_text('<link href="static/page.css">')
        (tmp_path / "page.css").write_text(text)
        files = _read(tmp_path)
        [address] = [path for path in files if path != "/"]
        return address, files["/"][1].decode()

    first, page = made("a {}")
    other, _ = made("b {}")
    assert made("a {}")[0] == first != other
    assert re.fullmatch(r"/static/[0-9a-f]{16}/page\.css", first)
    assert page == f'<link href="{first[1:]}">'


def test_howLongTheyAreKept():
    assert cachingOf("/") == "no-cache"
    for path in FILES.keys() - {"/"}:
        assert "immutable" in cachingOf(path)


def test_nothingStandsInThePageThatThePolicyForbids():
    assert "default-src 'self'" in POLICY
    assert "unsafe" not in POLICY
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", PAGE) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothingComesFromElsewhere(path):
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    # What is only to be written into a field.
    text = text.replace("http://HOST/PATH", "")
    assert re.findall(r"https?://|//[a-z]+\.|@import|url\(", text) == []


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_noTextBecomesMarkup(path):
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    assert re.findall(ways, path.read_text()) == []


def test_theLicenceOfWhatIsNotOurs():
    licence = (STATIC / "uPlot.LICENSE.txt").read_text()
    assert "MIT" in licence
    assert "Leon Sorokin" in licence
