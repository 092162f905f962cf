"""
The page for operators with 500 servers: what an event costs is counted, not timed.
"""

import json

import pytest
from loopback.browsed import CHROMIUM, LIVE, Site
from loopback.running import Balancer, freePorts

pytestmark = CHROMIUM


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A balancer with 500 servers, of which anybody may read."""
    directory = tmp_path_factory.mktemp("many")
    port, web = freePorts(2)
    servers = "\n".join(f"server s{n} = 127.0.0.1:9" for n in range(500))
    text = f"""\
[global]
admin = web:127.0.0.1:{web}
[frontend www]
bind = 127.0.0.1:{port}
pool = app
[pool app]
{servers}
"""
    with Balancer(directory, text):
        yield Site(port, web)


class TestMany:
    """With 500 servers an event costs what it says, not what there is."""

    @pytest.fixture
    def page(self, many, visit):
        page = visit(many, token=None)
        page.until(LIVE)
        page.until("document.querySelectorAll('#servers-table .server').length === 500")
        # From here on only the test says what happens.
        page.evaluate("lbtwist.live.stop()")
        # What is near to the screen is known, and everything is shown as it is.
        page.until("[...document.querySelectorAll('.live tr.server')].some((one) => one.row.near)")
        # Of rates that the page makes itself something is known from the second event on.
        for _turn in range(20):
            self.told(page, 0, ["s3"])
        return page

    @staticmethod
    def told(page, rate, servers="all"):
        """@return: how many rows and texts an event has changed."""
        return page.evaluate(f"""(() => {{
            const {{live, written}} = lbtwist, before = {{...written}};
            const some = {{}};
            const names = {json.dumps(servers)};
            for (const one of live.servers.values()) {{
                if (names === "all" || names.includes(one.name)) some[one.name] = {{rate: {rate}}};
            }}
            live.took({{at: live.at + 1, full: false, servers: {{app: some}}}});
            return [written.rows - before.rows, written.texts - before.texts];
        }})()""")

    def test_oneThatChangesIsOneRow(self, page):
        rows, texts = self.told(page, 7, ["s3"])
        assert rows == 1
        # Its rate, and the time of day.
        assert texts <= 2

    def test_nothingNewChangesNoRow(self, page):
        self.told(page, 7, ["s3"])
        assert self.told(page, 7, ["s3"])[0] == 0

    def test_ofManyTheOnesThatAreSeen(self, page):
        near = page.evaluate(
            "[...document.querySelectorAll('.live tr')].filter((one) => one.row?.near).length"
        )
        assert near < 150
        rows, _ = self.told(page, 42)
        assert 10 < rows <= near + 30
        # The others follow, some with each event.
        for _turn in range(20):
            self.told(page, 42, ["s0"])
        assert page.evaluate(
            "[...document.querySelectorAll('#servers-table .server')]"
            ".filter((one) => one.cells[2].textContent === '42').length"
        ) == 500  # fmt: skip

    def test_whatComesIntoSightIsAsItIs(self, page):
        self.told(page, 42)
        page.evaluate("document.querySelector('#servers-frame').scrollTo(0, 9000)")
        page.until("[...document.querySelectorAll('#servers-table .server')].at(310).row.near")
        seen = page.evaluate(
            "[...document.querySelectorAll('#servers-table .server')]"
            ".filter((one) => one.row.near).map((one) => one.cells[2].textContent)"
        )
        assert set(seen) == {"42"}

    def test_rowsOutOfSightAreNotLaidOut(self, page):
        assert page.evaluate(
            "[...document.querySelectorAll('#servers-table .server')].at(-1).cells[0].firstChild"
            ".checkVisibility({contentVisibilityAuto: true})"
        ) is False  # fmt: skip

    def test_itIsFoundByItsName(self, page):
        page.press("/")
        page.types("s321")
        page.until("document.querySelectorAll('#servers-table .server').length === 1")
        assert page.text("#servers-shown") == "1 of 500"
