"""
The page for operators among strangers: names and texts that are markup, wrong tokens, a
balancer that is gone.
"""

import json
import re

from loopback.browsed import (
    CHROMIUM,
    HOSTILE,
    LIVE,
    OPERATOR,
    READER,
    TEXT,
    Site,
    row,
    writeTokens,
)
from loopback.running import Balancer, freePorts, listens, until

pytestmark = CHROMIUM


class TestStrangers:
    """Whatever a name or a text of somebody else is, it is text."""

    def test_theRequestLineOfAFailure(self, site, visit):
        page = visit(site)
        site.get("/admin/" + HOSTILE.replace(" ", "\t").replace("\t", "%20"))
        page.until("document.querySelector('#failures-rows').innerText.includes('<script>')")
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0

    def test_theDetailOfACheck(self, site, visit):
        page = visit(site)
        page.evaluate(f"{row('only', 'ill')}.querySelector('button').click()")
        page.until("document.querySelector('#panel-checks').innerText.includes('503')")
        assert page.evaluate("document.querySelectorAll('dialog script').length") == 0

    def test_theRequestThatIsExplained(self, site, visit):
        page = visit(site)
        page.click("#x-url")
        page.types(f"http://www.example:{site.port}/{HOSTILE.replace(' ', '%20')}")
        page.press("Enter")
        page.until("document.querySelector('#explain-path .verdict')")
        assert "<script>" in page.text("#explain-path")
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0

    def test_namesOfEverything(self, site, visit):
        """A configuration allows no such names; the page does not rely on that."""
        page = visit(site)
        said = {
            "at": 1e9, "full": True, "process": {},
            "frontends": {HOSTILE: {"state": HOSTILE, "mode": HOSTILE, "binds": [HOSTILE]}},
            "pools": {HOSTILE: {"state": "UP", "servers": 1, "usable": 1, "balance": HOSTILE},
                      "__proto__": {"state": "UP"}},
            "servers": {HOSTILE: {HOSTILE: {
                "state": HOSTILE, "status": HOSTILE, "address": HOSTILE, "check": HOSTILE,
                "role": HOSTILE, "weight": HOSTILE,
            }}},
        }  # fmt: skip
        page.evaluate(f"lbtwist.live.took(JSON.parse({json.dumps(json.dumps(said))}))")
        assert page.texts("#servers-table .fold") == [HOSTILE, "__proto__"]
        assert page.text("#servers-table .server .name") == HOSTILE
        page.evaluate("document.querySelector('#servers-table .server .name').click()")
        assert HOSTILE in page.text("#panel-title")
        markup = "main :is(img, script), dialog :is(img, script)"
        assert page.evaluate(f"document.querySelectorAll('{markup}').length") == 0
        page.forgiven = re.compile("Failed to load resource: .* 404 ").match

    def test_textCannotBecomeMarkup(self, site, visit):
        """Not even by a mistake in the page: the browser refuses it."""
        page = visit(site)
        assert page.evaluate("""(() => {
            try { document.body.innerHTML = "<p>"; return "taken"; }
            catch (refused) { return refused.name; }
        })()""") == "TypeError"  # fmt: skip
        assert page.evaluate("""new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (event) =>
                resolve(event.effectiveDirective));
            const script = document.createElement("script");
            script.append("window.taken = 1");
            document.body.append(script);
        })""") in ("script-src-elem", "require-trusted-types-for")  # fmt: skip
        page.forgiven = re.compile(".*(Trusted|Content Security Policy)").search


class TestLink:
    def test_aWrongToken(self, site, visit):
        page = visit(site, token=None)
        page.until("document.activeElement.id === 'token'")
        page.types("x" * 40)
        page.press("Enter")
        page.until("document.querySelector('#login-problem').innerText.includes('not known')")
        page.types(READER)
        page.press("Enter")
        page.until(LIVE)
        page.forgiven = re.compile("Failed to load resource: .* 401 ").match

    def test_lostAndThereAgain(self, tmp_path, visit):
        port, web = freePorts(2)
        writeTokens(tmp_path)
        text = TEXT.format(port=port, web=web, ill=9)
        site = Site(port, web)
        with Balancer(tmp_path, text):
            page = visit(site)
        page.until("!document.querySelector('#lost').hidden")
        assert "No connection to the balancer." in page.text("#lost")
        assert "What is shown is of" in page.text("#lost")
        (tmp_path / "lbtwist.out").unlink()
        with Balancer(tmp_path, text):
            until(lambda: listens(web))
            # Who was logged in is not any more: it is another process.
            page.until("document.querySelector('#login').open")
            page.types(OPERATOR)
            page.press("Enter")
            page.until("lbtwist.live.link === 'live'")
            page.until("document.querySelector('#lost').hidden")
            page.forgiven = re.compile("Failed to load resource: (net::ERR_|.* 401 )").match
