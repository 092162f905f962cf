"""
What operators see of a balancer that runs: C{lbtwist why}, C{lbtwist explain --live}, and
C{lbtwist top}, in a real terminal (tmux) and elsewhere.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from itertools import count

import pytest
from loopback.running import Balancer, environment, freePorts, until

CONFIG = """\
[global]
admin = unix:lb.sock, unix:look.sock level=user
[frontend www]
bind = 127.0.0.1:{port}
pool = app
request = pool away if path == "/away"
[pool app]
server a = demo:a
server b = demo:b
[pool away]
check = tcp interval=100ms rise=1 fall=1
server c = 127.0.0.1:{absent}
"""


class Seen(Balancer):
    def __init__(self, directory):
        self.port, absent = freePorts(2)
        self.text = CONFIG.format(port=self.port, absent=absent)
        super().__init__(directory, self.text)

    def gets(self, path="/"):
        """@return: the status of an answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
            return int(client.recv(65536).split()[1])


@pytest.fixture(scope="module")
def balancer(tmp_path_factory):
    with Seen(tmp_path_factory.mktemp("seen")) as balancer:
        until(lambda: "away/c is DOWN" in balancer.lbtwist("show", "events")[1])
        yield balancer


# why


def test_why(balancer):
    assert [balancer.gets("/away"), balancer.gets("/away")] == [503, 503]
    code, text = balancer.lbtwist("why", "503", "--last", "5m", "--pool", "away")
    assert code == 0
    assert re.search(
        r"^\d failures in the last 5m:\n\n\d x 503: no server of away was usable from [\d:]+ to"
        r" [\d:]+\n  ended SC, .*; by www \d\n  servers then: c DOWN since [\d:]+ \(L4CON .*\)\n"
        r"  [\d:]+ Server away/c is DOWN, .*\n  example: .* GET /away HTTP/1.1\n  do: Mend ",
        text,
    ), text
    code, text = balancer.lbtwist("why", "no-server", "--frontend", "www", "--json")
    assert [group["pool"] for group in json.loads(text)["groups"]] == ["away"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["why", "--pool", "app"], 0, "Nothing of that kind has failed in the last 1h."),
        (["why", "rain"], 1, "'rain' is no status"),
        (["why", "--pool", "x y"], 1, "No such backend."),
        (["why", "--last", "2h"], 2, "up to 1h"),
        (["why", "--last", "soon"], 2, "'soon' is not a time"),
        (["why", "--socket", "look.sock"], 1, "Permission denied"),
        (["why", "--socket", "absent.sock"], 3, "no balancer answers"),
        (["top", "--once", "--pool", "x"], 1, "Can't find backend."),
        (["top", "--interval", "1h"], 2, "from 100ms to 1m"),
        (["top", "--once", "--socket", "absent.sock"], 3, "no balancer answers"),
        (["explain", "--live", "--limit", "300ms"], 4, "no such exchange has come within 0.3 s."),
        (["explain", "--live", "--match", "path =="], 1, "match: it is not an expression"),
        (["explain", "--live", "--frontend", "x"], 1, "No such frontend."),
        (["explain", "--live", "--limit", "2h"], 2, "up to 1h"),
        (["explain", "--live", "GET http://h/"], 2, "there is no request: write --match"),
        (["explain", "--live", "--socket", "absent.sock"], 3, "no balancer answers"),
    ],
)
def test_exitCodes(balancer, words, code, said):
    found, text = balancer.lbtwist(*words)
    assert (found, said in text) == (code, True), text
    assert "Traceback" not in text


# explain


def live(balancer, *words):
    """@return: the command, which waits for a request."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lbtwist", "explain", "--live", *words], text=True,
        cwd=balancer.directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    # It says so once it has waited for a second.
    assert process.stderr.readline() == "waiting for a request\n"
    return process


def test_aRealRequestExplained(balancer):
    with live(balancer, "--frontend", "www", "--match", 'path == "/x" or path == "/away"') as one:
        balancer.gets("/")
        balancer.gets("/away")
        text, _ = one.communicate(timeout=15)
    assert one.returncode == 0
    assert re.match(r"request     GET /away from 127\.0\.0\.1:\d+ to port \d+\n", text)
    assert "lb.ini:6  pool away if path == \"/away\"\n" in text
    assert text.endswith("action      answered with 503\n")


def test_aRealRequestForPrograms(balancer):
    with live(balancer, "--json") as one:
        balancer.gets("/")
        text, _ = one.communicate(timeout=15)
    assert json.loads(text)["action"]["status"] == 200


# top, without a terminal


def test_topOnce(balancer):
    code, text = balancer.lbtwist("top", "--once", "--interval", "100ms")
    assert code == 0
    lines = text.splitlines()
    assert lines[0].startswith(f"lbtwist 0.1.0  pid {balancer.pid}  up ")
    firsts = [line.split()[:2] for line in lines[3:] if line]
    assert firsts == [
        ["FRONTEND", "STATE"], ["www", "OPEN"], ["POOL", "STATE"], ["app", "UP"],
        ["away", "DOWN"], ["SERVER", "STATE"], ["app/a", "UP"], ["app/b", "UP"],
        ["away/c", "DOWN"],
    ]  # fmt: skip


def test_topOfOnePool(balancer):
    code, text = balancer.lbtwist("top", "--once", "--interval", "100ms", "--pool", "app",
                                  "--json")  # fmt: skip
    assert code == 0
    assert [row["name"] for row in json.loads(text)["rows"]] == ["app", "app/a", "app/b"]


def test_topForAFileGoesOnUntilItIsEnded(balancer):
    with subprocess.Popen(
        [sys.executable, "-m", "lbtwist", "top", "--interval", "100ms"], text=True,
        cwd=balancer.directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        seen = [process.stdout.readline() for _ in range(40)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    assert sum(line.startswith("lbtwist 0.1.0") for line in seen) >= 2
    assert "\x1b" not in "".join(seen)
    assert (process.returncode, errors) == (0, "")


# top in a terminal

_NUMBERS = count()


class Tmux:
    """A terminal of 100 columns and 24 lines, with a shell in it."""

    def __init__(self, directory):
        self._socket = f"{directory}/tmux-{next(_NUMBERS)}"
        self.directory = directory
        self("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "24", "sh")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self("kill-server")

    def __call__(self, *words):
        found = subprocess.run(
            ["tmux", "-S", self._socket, *words], cwd=self.directory, capture_output=True,
            text=True, timeout=15, check=True, env=environment(TERM="xterm-256color", PS1="$ "),
        )  # fmt: skip
        return found.stdout

    @property
    def screen(self):
        return self("capture-pane", "-p")

    def keys(self, *keys):
        self("send-keys", *keys)

    def types(self, command):
        self("send-keys", "-l", command)
        self("send-keys", "Enter")

    def until(self, pattern):
        """Wait for something on the screen."""
        return until(lambda: re.search(pattern, self.screen, re.M), what=lambda: self.screen)

    def top(self, *words):
        """Begin it."""
        self.types(f"{sys.executable} -m lbtwist top --interval 200ms {' '.join(words)}; echo=$?"
                   "; echo ended-$echo")  # fmt: skip


@pytest.fixture
def terminal(balancer):
    with Tmux(balancer.directory) as terminal:
        yield terminal


def chosen(terminal):
    """@return: the name in the line that is drawn as the chosen one: bold and reversed."""
    styles = set()
    for line in terminal("capture-pane", "-p", "-e").splitlines():
        at = 0
        # What has begun goes on in the next line.
        while found := re.compile(r"\x1b\[([\d;]*)m").match(line, at):
            for number in found[1].split(";"):
                styles = styles | {number} if number.strip("0") else set()
            at = found.end()
        if {"1", "7"} <= styles:
            return line[at:].split()[0]
        styles = set() if line.endswith("\x1b[0m") else styles
    return None


@pytest.mark.needs("tmux")
def test_topInATerminal(balancer, terminal):
    terminal.top()
    terminal.until(r"^www +OPEN")
    # Rates are those of real requests.
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            balancer.gets()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        terminal.until(r"^www +OPEN +\d+ +- +\d+ +[1-9]")
        terminal.until(r"requests [1-9][\d.k]*/s")
    finally:
        stop.set()
        asking.join(15)
    terminal.keys("s")
    terminal.until(r"Sorted by sessions\.")
    terminal.keys("h")
    terminal.until(r"^d  drain the chosen server")
    terminal.keys("h")
    terminal.keys("/")
    terminal.keys("b")
    terminal.until(r"^Only names with: b_")
    terminal.keys("Enter")
    terminal.until(r"sorted by sessions  only 'b'$")
    assert "app/a" not in terminal.screen
    terminal.keys("Escape")
    terminal.until(r"^app/a ")
    terminal.keys("p")
    terminal.until(r"^Paused; p goes on\.")
    terminal.keys("p")
    terminal.keys("q")
    terminal.until(r"ended-0$")
    assert "www" not in terminal.screen


@pytest.mark.needs("tmux")
def test_aServerIsDrainedFromThere(balancer, terminal):
    terminal.top("--pool", "app")
    terminal.until(r"^app/a +UP")
    terminal.keys("Down", "Down")
    until(lambda: chosen(terminal) == "app/a", what=lambda: terminal("capture-pane", "-p", "-e"))
    terminal.keys("d")
    terminal.until(r"^Drain app/a: nobody new, \d+ run there\? \(y/n\)")
    terminal.keys("n")
    terminal.until(r"^Not done\.")
    terminal.keys("d")
    terminal.until(r"^Drain app/a")
    terminal.keys("y")
    terminal.until(r"^app/a +DRAIN")
    terminal.until(r"^app/a drains\.")
    terminal.keys("d", "y")
    terminal.until(r"^app/a is ready\.")
    terminal.until(r"^app/a +UP")
    terminal.keys("q")
    terminal.until(r"ended-0$")


@pytest.mark.needs("tmux")
def test_whoMayNotDrain(terminal):
    terminal.top("--socket", "look.sock")
    terminal.until(r"^app/a +UP")
    terminal.keys("End", "d")
    terminal.until(r"it takes admin\.")
    terminal.keys("q")
    terminal.until(r"ended-0$")


@pytest.mark.needs("tmux")
def test_theTerminalIsLeftAsItWas(terminal):
    terminal.types("stty -g > before")
    terminal.top()
    terminal.until(r"^www +OPEN")
    terminal.keys("C-c")
    terminal.until(r"ended-0$")
    terminal.types("stty -g > after; echo done")
    terminal.until("done$")
    directory = terminal.directory
    assert (directory / "before").read_text() == (directory / "after").read_text()
    assert "Traceback" not in terminal.screen
    # Its other screen is gone, the cursor is back.
    assert terminal("display", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}") == "0 1 1\n"


@pytest.mark.needs("tmux")
def test_anotherSize(terminal):
    terminal.top()
    terminal.until(r"^FRONTEND .*CHECK$")
    terminal("resize-window", "-x", "50", "-y", "10")
    terminal.until(r"^FRONTEND .*FAIL/S  5XX/S  MS$")
    assert all(len(line) <= 50 for line in terminal.screen.splitlines())
    terminal("resize-window", "-x", "100", "-y", "24")
    terminal.until(r"^FRONTEND .*CHECK$")
    terminal.keys("q")
    terminal.until(r"ended-0$")


@pytest.mark.needs("tmux")
def test_itIsStoppedAndGoesOn(terminal):
    terminal.top()
    terminal.until(r"^www +OPEN")
    terminal.keys("C-z")
    until(lambda: terminal("display", "-p", "#{alternate_on}") == "0\n")
    terminal.types("fg")
    terminal.until(r"^www +OPEN")
    terminal.keys("q")
    until(lambda: terminal("display", "-p", "#{alternate_on}") == "0\n")
    assert "Traceback" not in terminal.screen


@pytest.mark.needs("tmux")
def test_aBalancerThatGoesAwayAndComesBack(tmp_path):
    with Seen(tmp_path) as first, Tmux(tmp_path) as terminal:
        terminal.top()
        terminal.until(rf"pid {first.pid} ")
        first.terminate()
        terminal.until(r"^No balancer: .*\. Trying again\.")
        # What was known last is still there.
        assert re.search(r"^www +OPEN", terminal.screen, re.M)
        again = subprocess.Popen(
            first.process.args, cwd=tmp_path, env=environment(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            terminal.until(rf"pid {again.pid} ")
            terminal.until(r"^q leave")
            terminal.keys("q")
            terminal.until(r"ended-0$")
        finally:
            again.terminate()
            again.wait(15)


@pytest.mark.needs("tmux")
def test_aBalancerThatDoesNotAnswerCanBeLeft(balancer, terminal):
    terminal.top()
    terminal.until(r"^www +OPEN")
    os.kill(balancer.pid, signal.SIGSTOP)
    try:
        terminal.keys("s")
        terminal.until(r"^Sorted by sessions\.")
        terminal.keys("q")
        terminal.until(r"ended-0$")
    finally:
        os.kill(balancer.pid, signal.SIGCONT)


def test_ctrlCEndsWhatWaits(balancer):
    with live(balancer) as one:
        one.send_signal(signal.SIGINT)
        _, errors = one.communicate(timeout=15)
    assert one.returncode == 130
    assert "Traceback" not in errors
