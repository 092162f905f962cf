"""
Changes on the page for operators, by somebody with a mouse, and by somebody without.
"""

from loopback.browsed import CHROMIUM, cell, opens, ready, state
from loopback.running import until

pytestmark = CHROMIUM


class TestChanging:
    def test_aDrainByClicking(self, site, visit):
        page = visit(site)
        with site.waiting(4):
            busy = until(lambda: [n for n in "abc" if site.server(n)["sessions"]])[0]
            opens(page, busy)
            page.click("[data-does=drain]")
            assert page.text("#ask-title") == f"Drain app/{busy}?"
            assert site.server(busy)["admin"] == "ready"
            page.click("#ask-yes")
            page.until("/^Draining: 1 session is left/.test("
                       "document.querySelector('#drain-text').innerText)")  # fmt: skip
            assert site.server(busy)["admin"] == "drain"
            page.until(state(busy, "DRAIN"))
        page.until("/^Drained: nothing runs/.test("
                   "document.querySelector('#drain-text').innerText)")  # fmt: skip
        assert page.evaluate("document.querySelector('progress').position") == 1

        page.click("[data-does=ready]")
        page.click("#ask-yes")
        page.until(state(busy, "UP"))

    def test_aDrainByKeysAlone(self, site, visit):
        page = visit(site)
        page.press("g", "s")
        for _ in range(20):
            if page.focused == "app":
                break
            page.press("Tab")
        page.press("ArrowDown", "ArrowDown")
        assert page.focused == "b"
        assert page.evaluate("document.activeElement.matches(':focus-visible')")
        page.press("d")
        page.until("document.querySelector('#ask').open")
        page.press("Enter")
        page.until(state("b", "DRAIN"))
        assert site.server("b")["admin"] == "drain"
        # What has happened is told to who does not see it.
        page.until("/app.b is (being drained|DRAIN)/.test("
                   "document.querySelector('#spoken').textContent)")  # fmt: skip

        page.press("Enter")
        page.until("document.querySelector('#panel').open")
        page.press("Escape")
        page.until("!document.querySelector('#panel').open")
        assert page.focused == "b"
        ready(page, site, "b")

    def test_whoSaysNoHasChangedNothing(self, site, visit):
        page = visit(site)
        opens(page, "a")
        page.press("m")
        page.until("document.querySelector('#ask').open")
        page.press("Escape")
        page.until("!document.querySelector('#ask').open")
        assert page.evaluate("document.querySelector('#panel').open")
        assert site.server("a")["admin"] == "ready"

    def test_aWeight(self, site, visit):
        page = visit(site)
        opens(page, "c")
        page.until("document.querySelector('#weight').value === '1'")
        page.evaluate("document.querySelector('#weight').select()")
        page.types("7")
        page.press("Enter")
        page.until("document.querySelector('#ask').open")
        assert page.text("#ask-title") == "Set the weight of app/c to 7?"
        page.press("Enter")
        page.until(f"{cell('c', 'weight')} === '7'")
        assert site.server("c")["weight"] == 7

    def test_aWeightThatIsNone(self, site, visit):
        page = visit(site)
        opens(page, "c")
        page.evaluate("document.querySelector('#weight').select()")
        page.types("1000")
        page.press("Enter")
        assert page.evaluate("document.querySelector('#weight').ariaInvalid") == "true"
        assert not page.evaluate("document.querySelector('#ask').open")

    def test_theLastOneThatIsUp(self, site, visit):
        """Who takes it away is told what that means."""
        page = visit(site)
        page.evaluate("""lbtwist.live.took({at: lbtwist.live.at, full: false,
            servers: {app: {a: {state: "DOWN"}, b: {state: "DOWN"}}}})""")
        opens(page, "c")
        page.press("d")
        page.until("document.querySelector('#ask').open")
        assert "No other server of app is up" in page.text("#ask-lines .error")
        # Enter alone does no harm.
        assert page.focused == "Cancel"
