"""
How the page for operators looks, and how it is used: wide and narrow, light and dark, with the
keyboard.
"""

import json

import pytest
from loopback.browsed import CHROMIUM, LIVE, opens

pytestmark = CHROMIUM


LUMINANCE = """
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) =>
        one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const [r, g, b, a = 1] = parse(getComputedStyle(one).backgroundColor);
            if (a > 0.99) return [r, g, b];
        }
        return [255, 255, 255];
    };
"""

# WCAG 2.2, 1.4.3: of every text that is there, the least contrast and where it is.
CONTRAST = f"""(() => {{ {LUMINANCE}
    let found = [99, ""];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {{
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
        if (element.closest(":disabled, .unseen, option")) continue;
        const pair = [parse(getComputedStyle(element).color), ground(element)].map(light);
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < found[0]) found = [ratio, texts.currentNode.data];
    }}
    return found;
}})()"""


class TestLook:
    @pytest.mark.parametrize(
        ("name", "width", "height", "dark"),
        [("wide", 1440, 1600, False), ("dark", 1440, 1600, True), ("phone", 360, 800, False),
         ("phone-dark", 360, 800, True)],
    )  # fmt: skip
    def test_wideNarrowAndDark(self, site, visit, shots, name, width, height, dark):
        page = visit(site, width=width, height=height, dark=dark, still=True)
        site.get("/admin")
        page.until("document.querySelectorAll('.chart canvas').length === 4")
        page.until("document.querySelector('#failures-rows tr')")
        page.screenshot(shots / f"{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        ratio, text = page.evaluate(CONTRAST)
        assert ratio >= 4.5, text
        assert page.evaluate(f"(() => {{ {LUMINANCE} return light(ground(document.body)) }})()") < (
            0.05 if dark else 2
        )

        opens(page, "a")
        page.until("document.querySelector('#panel-checks tr')")
        page.screenshot(shots / f"{name}-panel.png")
        assert page.evaluate(
            "document.querySelector('#panel').scrollWidth"
            " <= document.querySelector('#panel').clientWidth"
        )
        ratio, text = page.evaluate(CONTRAST)
        assert ratio >= 4.5, text

    def test_theSwitch(self, site, visit):
        """Light or dark can be chosen, and is remembered."""
        page = visit(site)
        ground = "getComputedStyle(document.body).backgroundColor"
        bright = page.evaluate(ground)
        page.press("t", "t")
        assert page.text("#theme-word") == "dark"
        assert page.evaluate(ground) != bright
        page.goto(site.url)
        page.until(LIVE)
        assert page.text("#theme-word") == "dark"
        page.press("t")
        assert page.evaluate(ground) == bright

    def test_aStateIsNeverToldByColourAlone(self, site, visit):
        """Each has a word, and a shape of its own."""
        page = visit(site)
        words = ("UP", "DOWN", "DRAIN", "MAINT", "EJECTED", "LEAVING", "OPEN", "FULL", "PAUSED")
        shapes = page.evaluate(f"""{json.dumps(words)}.map((word) => {{
            const one = document.querySelector('#servers-table .state');
            one.dataset.state = word;
            const style = getComputedStyle(one, '::before');
            return style.clipPath + style.borderRadius;
        }})""")
        same = [{"UP", "OPEN"}, {"MAINT", "PAUSED"}]
        for one, shape in zip(words, shapes, strict=True):
            for other, its in zip(words, shapes, strict=True):
                alike = one == other or {one, other} in same
                assert (shape == its) == alike, (one, other)

    def test_whoWantsNoMotionGetsNone(self, site, visit):
        for still, wanted in ((False, "come"), (True, "none")):
            page = visit(site, still=still)
            opens(page, "a")
            style = "getComputedStyle(document.querySelector('#panel')).animationName"
            assert page.evaluate(style) == wanted

    def test_theKeysAreListed(self, site, visit):
        page = visit(site)
        page.press("?", shift=True)
        assert page.seen("#help")
        listed = page.text("#help")
        assert all(word in listed for word in ("drain", "filter", "explain"))
        page.press("Escape")
        assert not page.seen("#help")

    def test_singleKeysCanBeTurnedOff(self, site, visit):
        """Who speaks to his computer says letters by accident (WCAG 2.2, 2.1.4)."""
        page = visit(site)
        page.click("#help-open")
        page.click("#keys-on")
        page.press("Escape")
        page.press("?", shift=True)
        assert not page.seen("#help")
        page.evaluate("localStorage.clear()")

    def test_theTabKeyGoesThroughThePage(self, site, visit):
        """Every stop can be seen, and there is one for all servers."""
        page = visit(site)
        page.evaluate("document.body.focus()")
        seen = []
        for _ in range(80):
            page.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break
            seen.append(page.focused)
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert seen[0] == "Skip to the servers"
        assert "search" in seen
        assert "x-url" in seen
        assert len({"app", "a", "b", "c", "ill", "only"} & set(seen)) == 1
