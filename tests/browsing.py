"""
A real browser, Chromium without a screen, driven by its DevTools protocol
(https://chromedevtools.github.io/devtools-protocol/): what a test does is what a person does,
real clicks and real keys, and what is seen is what the browser says it shows.

It writes down every message of the console, every exception and every request.
"""

import base64
import json
import subprocess
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress

from websockets.sync.client import connect

from programs import find

WAIT = 20.0
"""Seconds after which what was waited for does not come."""

KEYS = {
    "Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowDown": (40, ""),
    "ArrowUp": (38, ""), "ArrowLeft": (37, ""), "ArrowRight": (39, ""), "Home": (36, ""),
    "End": (35, ""), " ": (32, " "),
}  # fmt: skip

# What has come into sight is laid out with the next frame.
FRAMES = "for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"

# Chromium speaks to its makers on its own, if it may.
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-domain-reliability", "--metrics-recording-only", "--no-pings",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0",
)  # fmt: skip


class Browser:
    """
    Chromium, with a profile of its own.

    @ivar pages: those that are open.
    """

    def __init__(self, directory):
        """@param directory: for its profile; exists."""
        self.pages = []
        self._process = subprocess.Popen(
            [find("chromium"), *QUIET, f"--user-data-dir={directory}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "DevTools listening on " in line:
                break
        else:
            raise AssertionError(f"chromium does not start: {''.join(said)}")
        self._address = line.split("//")[1].split("/")[0]
        # It never waits for somebody to read what it says.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def page(self, url="about:blank", width=1280, height=900, dark=False, still=False):
        """
        @param dark: whether the system is said to be dark.
        @param still: whether it is said to want no motion.
        @return: a new L{Page}.
        """
        asked = urllib.request.Request(f"http://{self._address}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(asked) as answer:
            target = json.load(answer)
        page = Page(target["webSocketDebuggerUrl"])
        self.pages.append(page)
        page.size(width, height)
        page.prefers(dark, still)
        if url != "about:blank":
            page.goto(url)
        return page

    def close(self):
        for page in self.pages:
            page.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Page:
    """
    One page of it.

    @ivar messages: of the console, and exceptions that nobody has caught.
    @ivar requests: the addresses of all that were made.
    """

    def __init__(self, address):
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(address, max_size=None, proxy=None))
        self._number = 0
        self._events = []
        self.messages = []
        self.requests = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.asks(f"{domain}.enable")

    def close(self):
        with suppress(Exception):
            self.asks("Page.close")
        self._stack.close()

    def asks(self, method, **params):
        """@return: what Chromium answers to a command."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=WAIT + 10))
            if said.get("id") == self._number:
                assert "error" not in said, f"{method}: {said['error']}"
                return said["result"]
            self._told(said)

    def _told(self, said):
        name, about = said.get("method"), said.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif name == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.messages.append(" ".join(str(one.get("value")) for one in about["args"]))
        elif name == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            said = details.get("exception", {}).get("description", details["text"])
            self.messages.append(said)
        elif name == "Log.entryAdded":
            self.messages.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
        elif name is not None:
            self._events.append(name)

    # where it is, and how

    def goto(self, url):
        """Load an address."""
        self._events.clear()
        failed = self.asks("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"
        end = time.monotonic() + WAIT
        while "Page.loadEventFired" not in self._events:
            self._told(json.loads(self._socket.recv(timeout=max(end - time.monotonic(), 0))))

    def size(self, width, height):
        """Have a window of so many pixels; up to 600 in width it is a telephone."""
        self.asks("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width <= 600)  # fmt: skip

    def prefers(self, dark=False, still=False):
        """Have the system prefer something."""
        self.asks("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ])  # fmt: skip

    def offline(self, so):
        """Cut its network, or mend it."""
        self.asks("Network.emulateNetworkConditions", offline=so, latency=0,
                  downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip

    # what is seen

    def evaluate(self, expression):
        """@return: the value of an expression of JavaScript; of a promise what comes of it."""
        said = self.asks("Runtime.evaluate", expression=expression, awaitPromise=True,
                         returnByValue=True)  # fmt: skip
        thrown = said.get("exceptionDetails")
        assert thrown is None, thrown.get("exception", {}).get("description", thrown)
        return said["result"].get("value")

    def until(self, expression):
        """Wait until an expression is true."""
        self.evaluate(f"""new Promise((resolve, reject) => {{
            const look = () => {{
                const met = (() => {{ try {{ return {expression} }} catch {{ return false }} }})();
                if (met) {{ clearInterval(timer); clearTimeout(end); resolve(true); }}
            }};
            const timer = setInterval(look, 20);
            const end = setTimeout(() => {{
                clearInterval(timer);
                reject(new Error({json.dumps(f"it does not come: {expression}")}));
            }}, {WAIT * 1000});
            look();
        }})""")

    def text(self, selector):
        """@return: what an element shows."""
        return self.texts(selector)[0]

    def texts(self, selector):
        """@return: what each of several elements shows."""
        return self.evaluate(f"""(async () => {{
            {FRAMES}
            return [...document.querySelectorAll({json.dumps(selector)})]
                .map((one) => one.innerText);
        }})()""")

    def seen(self, selector):
        """@return: whether an element is there and can be seen."""
        return self.evaluate(
            f"Boolean(document.querySelector({json.dumps(selector)})?.checkVisibility())"
        )

    def screenshot(self, path, whole=False):
        """
        @param whole: all of the page, not what fits.
        """
        data = self.asks("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(data["data"]))

    # what is done

    def click(self, selector):
        """The mouse goes to the middle of an element, and clicks."""
        place = self.evaluate(f"""(async () => {{
            const one = document.querySelector({json.dumps(selector)});
            one.scrollIntoView({{block: "center", behavior: "instant"}});
            {FRAMES}
            one.scrollIntoView({{block: "center", behavior: "instant"}});
            const {{x, y, width, height}} = one.getBoundingClientRect();
            const at = {{x: x + width / 2, y: y + height / 2}};
            const there = document.elementFromPoint(at.x, at.y);
            return {{...at, hit: one === there || one.contains(there)}};
        }})()""")
        assert place["hit"], f"something lies over {selector}"
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.asks("Input.dispatchMouseEvent", type=kind, x=place["x"], y=place["y"],
                      button="none" if kind == "mouseMoved" else "left", clickCount=1)  # fmt: skip

    def press(self, *keys, shift=False):
        """Press keys: names as C{Enter}, or single characters."""
        for key in keys:
            code, text = KEYS[key] if key in KEYS else (ord(key.upper()), key)
            said = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
            self.asks("Input.dispatchKeyEvent", type="keyDown", text=text, **said)
            self.asks("Input.dispatchKeyEvent", type="keyUp", **said)

    def types(self, text):
        """Write where the focus is."""
        self.asks("Input.insertText", text=text)

    @property
    def focused(self):
        """What has the focus: its text, or its id."""
        return self.evaluate(
            "document.activeElement.innerText?.trim() || document.activeElement.id"
        )
