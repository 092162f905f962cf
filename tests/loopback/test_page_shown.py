"""
The page for operators in a real Chromium: what it shows, what of it is seen, and why a request
goes where it goes.
"""

import re

from loopback.browsed import CHROMIUM, READER, cell, opens, row, state

pytestmark = CHROMIUM


class TestWhatIsShown:
    def test_itLoads(self, site, visit):
        page = visit(site)

        assert page.text("#link-word") == "live"
        assert page.text("#who") == "olivia"
        assert page.texts("#frontends-table tbody .word") == ["OPEN"]
        assert page.texts("#servers-table .pool .fold") == ["app", "ill"]
        assert page.texts("#servers-table .server .name") == ["a", "b", "c", "only"]

    def test_whatStandsInTableHasHeaders(self, site, visit):
        page = visit(site)

        assert page.texts("#frontends-table [role=columnheader]")[:4] == [
            "Name", "State", "Requests/s", "Errors/s",
        ]  # fmt: skip
        assert page.evaluate(
            f"[...{row('a')}.children].map((one) => one.getAttribute('role'))"
        ) == ["rowheader", *["cell"] * 10]

    def test_numbersMoveUnderLoad(self, site, visit):
        page = visit(site)
        with site.load():
            page.until(f"parseFloat({cell('a', 'rate')}) > 0")
            page.until("parseFloat(document.querySelector('#sum-requests').innerText) > 1")
            before = page.text("#sum-requests")
            page.until(f"document.querySelector('#sum-requests').innerText !== {before!r}")
            # A point of history is made in ten seconds.
            page.until(f"/ms/.test({cell('a', 'high')})")
        page.until("document.querySelector('#sum-requests').innerText === '0'")

    def test_theLastHourIsDrawn(self, site, visit):
        page = visit(site)
        page.until("document.querySelectorAll('.chart canvas').length === 4")
        page.until("/Latency.*p99/.test(document.querySelectorAll('.plot')[2].ariaLabel)")

    def test_aFailureHasItsCauseInWords(self, site, visit):
        page = visit(site)
        assert site.get("/admin/secret?token=1") == 403
        page.until("document.querySelector('#failures-rows .cause')")
        page.until(
            "document.querySelector('#failures-rows').innerText.includes('/admin/secret?token=1')"
        )
        assert "refused by a rule" in page.text("#failures-rows tr .cause")

    def test_aRateGoesDownWhereNothingIsSaid(self, site, visit):
        """The stream says what has changed; that nothing fails any more is no change."""
        page = visit(site)
        page.evaluate("""(() => {
            const said = (event) => `event: state\ndata: ${JSON.stringify(event)}\n\n`;
            const failed = (count) => ({frontends: {www: {state: "OPEN", failed: count}}});
            const body = new ReadableStream({start(told) {
                told.enqueue(said({at: 1e9, full: true, ...failed(0)}));
                told.enqueue(said({at: 1e9 + 1, full: false, ...failed(5)}));
            }}).pipeThrough(new TextEncoderStream());
            lbtwist.live.stop();
            window.fetch = async () => new Response(body);
            lbtwist.live.start();
        })()""")
        failed = "document.querySelector('#frontends-table tbody tr').cells[4].textContent"
        page.until(f"{failed} === '5'")
        page.until(f"{failed} === '0'")

    def test_theLastChecksOfAServer(self, site, visit):
        page = visit(site)
        opens(page, "a")
        page.until("document.querySelectorAll('#panel-checks tr').length > 1")
        time, result, took, found = page.texts("#panel-checks tr:first-child td")
        assert re.fullmatch(r"\d\d:\d\d:\d\d", time)
        assert (result, found) == ("passed", "L7OK 200 OK")
        assert took.endswith("ms")

    def test_whoMayOnlyReadIsOfferedNothingElse(self, site, visit):
        page = visit(site, READER)
        assert page.text("#locked") == "read only"
        opens(page, "a")
        assert not page.seen("#panel-actions")
        page.press("d")
        assert not page.evaluate("document.querySelector('#ask').open")
        assert site.server("a")["admin"] == "ready"


class TestChoosing:
    def test_theFilter(self, site, visit):
        page = visit(site)
        page.press("/")
        page.types("app/b")
        page.until("document.querySelectorAll('#servers-table .server').length === 1")
        assert page.texts("#servers-table .server .name") == ["b"]
        page.press("Escape")
        page.until("document.querySelectorAll('#servers-table .server').length === 4")

    def test_onlyThoseInAState(self, site, visit):
        page = visit(site)
        page.until(state("only", "DOWN", "ill"))
        page.click("#chips button")
        assert page.texts("#servers-table .server .name") == ["only"]
        assert page.evaluate("document.querySelector('#chips button').ariaPressed") == "true"

    def test_sorting(self, site, visit):
        page = visit(site)
        name = "#servers-table thead th:first-child"
        page.click(f"{name} button")
        assert page.evaluate(f"document.querySelector('{name}').ariaSort") == "ascending"
        page.click(f"{name} button")
        assert page.texts("#servers-table .server .name") == ["only", "c", "b", "a"]
        page.click(f"{name} button")
        assert page.texts("#servers-table .server .name") == ["a", "b", "c", "only"]

    def test_aPoolIsFolded(self, site, visit):
        page = visit(site)
        page.click("#servers-table .fold")
        assert page.texts("#servers-table .server .name") == ["only"]
        assert page.evaluate("document.querySelector('.fold').ariaExpanded") == "false"


class TestExplaining:
    def test_aPath(self, site, visit):
        page = visit(site)
        page.click("#x-url")
        page.types(f"http://www.example:{site.port}/admin/x")
        page.press("Tab")
        page.types("203.0.113.9")
        page.press("Enter")
        page.until("document.querySelector('#explain-path .verdict')")

        kinds = page.evaluate(
            "[...document.querySelectorAll('#explain-path > li')].map((one) => one.dataset.kind)"
        )
        assert kinds == ["request", "frontend", "tls", "rule", "rule", "action"]
        asked, left = page.texts("#explain-path [data-kind=rule]")
        assert 'deny if path.normal.startswith("/admin") and not inside' in asked
        assert '"/admin/x"' in asked
        assert asked.endswith("→ yes: denied with 403")
        assert left.endswith("→ not asked any more")
        assert "answered with 403" in page.text("#explain-path .verdict")

    def test_theServersThatCouldHaveBeen(self, site, visit):
        page = visit(site)
        page.click("#x-url")
        page.types(f"http://www.example:{site.port}/")
        page.press("Enter")
        page.until("document.querySelector('#explain-path .verdict')")
        assert page.texts("#explain-path tbody th") == ["a", "b", "c"]
        assert len([one for one in page.texts("#explain-path tbody tr") if "chosen" in one]) == 1

    def test_whatMakesNoSenseIsSaid(self, site, visit):
        page = visit(site)
        page.click("#x-url")
        page.types("nonsense")
        page.press("Enter")
        page.until("!document.querySelector('#explain-problem').hidden")
        assert "nonsense" in page.text("#explain-problem")
        page.forgiven = re.compile("Failed to load resource: .* 422 ").match


class TestWords:
    """Numbers as people read them."""

    CASES = [
        ("count(0)", "0"), ("count(9999)", "9,999"), ("count(10000)", "10k"),
        ("count(1234567)", "1.2M"), ("count(null)", "\u2013"), ("count(undefined)", "\u2013"),
        ("rate(0)", "0"), ("rate(0.01)", "<0.1"), ("rate(2.5)", "2.5"), ("rate(12.3)", "12"),
        ("latency(0)", "0 ms"), ("latency(0.0004)", "0.4 ms"), ("latency(0.0123)", "12 ms"),
        ("latency(0.9996)", "1.00 s"), ("latency(12.34)", "12.3 s"), ("latency(null)", "\u2013"),
        ("latency(125)", "2 min 5 s"), ("lasted(59)", "59 s"), ("lasted(3600)", "1 h"),
        ("lasted(90061)", "1 d 1 h"), ("lasted(-3)", "0 s"), ("bytes(999)", "999 B"),
        ("bytes(1500)", "1.5 kB"), ("bytes(2.5e12)", "2.5 TB"), ("of(3, 10)", "3 / 10"),
        ("of(3, null)", "3"), ("plural(1, 'server', 'servers')", "1 server"),
        ("plural(0, 'server', 'servers')", "0 servers"), ("value('a\"b')", '"a\\"b"'),
        ("value(null)", "nothing"), ("value([true, 1])", "[yes, 1]"),
    ]  # fmt: skip

    def test_eachOfThem(self, site, visit):
        page = visit(site)
        calls = ", ".join(f"words.{call}" for call, _ in self.CASES)
        said = page.evaluate(
            "import(new URL('words.js', document.querySelector('script[type=module]').src))"
            f".then((words) => [{calls}])"
        )
        assert dict(zip([call for call, _ in self.CASES], said, strict=True)) == dict(self.CASES)
