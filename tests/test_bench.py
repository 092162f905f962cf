"""
The bench: what it reads, what it computes and what it prints. The only load that is made
here is to see what its clients offer a server with TLS.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from bench import __main__ as command
from bench import choices, handshakes, wrk
from bench.cases import BALANCERS, CASES, CHOICES, FIGURES, KEYED, Goal
from bench.certificate import SUITE, VERSION, Certificate
from bench.load import Bench, Outcome, Sample, checkAnswers, checkLog, runLoad, sample
from bench.origin import SMALL, fetch, parseStatus
from bench.programs import LBTWIST, PROGRAMS, TEMPLATES, serverLines, writeLists
from bench.report import asJSON, medians, ratios, table, verdicts
from bench.system import (
    Child,
    CPUTime,
    Memory,
    NotStarted,
    Placement,
    children,
    confined,
    cpuTime,
    freePorts,
    memory,
    parseRollup,
    place,
)
from bench.wrk import WrkReport, parse
from lbtwist.config.load import load
from lbtwist.interfaces import IBalancer
from lbtwist.registry import installed

GOOD = """\
Running 4s test @ http://127.0.0.1:20001/small
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   649.11us  123.45us   9.87ms   91.02%
    Req/Sec    49.72k     1.03k   51.20k    75.00%
  Latency Distribution
     50%  631.00us
     75%  702.00us
     90%  801.00us
     99%    1.11ms
  198412 requests in 4.01s, 47.31MB read
Requests/sec:  49479.30
Transfer/sec:     11.80MB
"""

SPOILED = GOOD.replace(
    "Requests/sec",
    "  Socket errors: connect 0, read 3, write 0, timeout 7\n"
    "  Non-2xx or 3xx responses: 12\nRequests/sec",
)

VALUES = {
    "port": 20001,
    "log": "/log/access.log",
    "certificate": "/certificate/site.pem",
    "serverA": 20002,
    "serverB": 20003,
    "balance": "leastconn",
    "echo": 20004,
    "generation": "0000",
}


class TestWrk:
    def test_goodReport(self):
        assert parse(GOOD) == WrkReport(requests=198412, seconds=4.01, p99=1.11)

    @pytest.mark.parametrize(
        ("printed", "milliseconds"),
        [("731.00us", 0.731), ("12.50ms", 12.5), ("1.25s", 1250.0), ("1.00m", 60000.0)],
    )
    def test_p99HasUnits(self, printed, milliseconds):
        assert parse(GOOD.replace("1.11ms", printed)).p99 == pytest.approx(milliseconds)

    def test_longRunsAreToldInMinutes(self):
        assert parse(GOOD.replace("in 4.01s", "in 1.50m")).seconds == pytest.approx(90.0)

    def test_errorsMakeItInvalid(self):
        assert parse(SPOILED).problems == (
            "12 responses were not 2xx or 3xx",
            "socket errors: read 3, timeout 7",
        )

    def test_nothingAnsweredIsInvalid(self):
        report = parse(GOOD.replace("198412 requests", "0 requests"))
        assert report.problems == ("no request was answered",)

    @pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1\n", GOOD[:200]])
    def test_anythingElseIsNoReport(self, text):
        with pytest.raises(ValueError, match="not a report of wrk"):
            parse(text)


class TestConfigurations:
    @pytest.mark.parametrize(
        ("program", "mode"),
        [(program, mode) for program in PROGRAMS.values() for mode in sorted(program.modes)],
        ids=lambda value: getattr(value, "name", value),
    )
    def test_everyModeOfEveryProgram(self, program, mode):
        text = program.render(mode, VALUES)
        assert "$" not in text
        half = 1
        if mode in ("thousand", "websockets"):
            half = 5 if "plain" in program.name else 500
        for name, count in {"port": 1, "serverA": half, "serverB": half}.items():
            assert text.count(str(VALUES[name])) == count
        silent = {name for case in CASES.values() if case.mode == mode for name in case.silent}
        assert program.logsToStdout or text.count(VALUES["log"]) == (program.name not in silent)
        assert (VALUES["certificate"] in text) == (mode == "https")

    @pytest.mark.parametrize("mode", sorted(LBTWIST.modes))
    def test_lbtwistDoesTheWorkOfTheOthers(self, mode, tmp_path):
        path = tmp_path / "bench.ini"
        path.write_text(LBTWIST.render(mode, VALUES))
        writeLists(tmp_path)
        config, warnings = load(path, installed())
        assert warnings == []
        frontend, pool = config.frontends["bench"], config.pools["app"]
        spoken = "tcp" if mode == "tcp" else "http"
        assert frontend.mode == spoken
        rules = {"rules": 20, "networks": 2, "workers": 33, "websockets": 2}
        assert len(frontend.request) == rules.get(mode, 0)
        assert [(log.target, log.path, log.options.format) for log in frontend.log] == [
            ("file", "/log/access.log", "json" if mode == "operated" else spoken)
        ]
        assert [bind.tls for bind in frontend.bind] == ["site" if mode == "https" else ""]
        many = mode in ("thousand", "websockets")
        pairs = 500 if many else 1
        both = ["127.0.0.1:20002", "127.0.0.1:20003"]
        assert [str(server) for server in pool.servers] == both * pairs
        assert pool.balance.name == ("leastconn" if many else "roundrobin")
        if spoken == "http":
            assert (frontend.forwarded, pool.http_reuse) == ("x", "always")

    @pytest.mark.parametrize("mode", sorted(LBTWIST.modes & PROGRAMS["plain"].modes))
    def test_plainDiffersInNothingElse(self, mode):
        """What is not in common is what is measured: rules, servers, persistence, or a part."""
        ours, plain = (
            set(program.render(mode, VALUES).splitlines())
            for program in (LBTWIST, PROGRAMS["plain"])
        )
        allowed = {
            "rules": ("request =", "    "), "networks": ("    deny if ",),
            "thousand": ("server s",), "cookie": ("persist =",), "source": ("persist =",),
            "operated": ("workers =", "admin =", "log ="), "workers": ("workers =",),
        }[mode]  # fmt: skip
        assert ours - plain
        assert all(line.startswith(allowed) for line in ours ^ plain)

    def test_serversAsEachProgramWritesThem(self):
        assert serverLines(LBTWIST.server, 3, 1, 2).splitlines() == [
            "server s0 = 127.0.0.1:1", "server s1 = 127.0.0.1:2", "server s2 = 127.0.0.1:1"
        ]  # fmt: skip
        assert serverLines(PROGRAMS["haproxy"].server, 1, 1) == "server s0 127.0.0.1:1"

    @pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.values])
    def test_everyBalancerThatIsAskedFor(self, name, tmp_path):
        path = tmp_path / "bench.ini"
        path.write_text(LBTWIST.render("thousand", {**VALUES, **CASES[name].values}))
        config, warnings = load(path, installed())
        assert warnings == []
        asked = BALANCERS[name.removeprefix("thousand-").replace("http-thousand", "leastconn")]
        assert config.pools["app"].balance.name == asked.split()[0]

    def test_balancersOfAllCases(self):
        """Each that is installed is in C{choices}; under load those that wrk can tell apart."""
        every = set(installed().names(IBalancer))
        assert {balance.split()[0] for balance in CHOICES} == every
        # All clients have one address there, and none speaks RDP.
        assert set(BALANCERS) == every - {"source", "rdp-cookie"}
        assert set(BALANCERS) == {
            name.removeprefix("thousand-") for name in CASES if name.startswith("thousand-")
        }

    @pytest.mark.needs("haproxy")
    @pytest.mark.parametrize(
        ("name", "mode"),
        [(name, mode) for name in ("haproxy", "haproxy-plain")
         for mode in sorted(PROGRAMS[name].modes)],
    )  # fmt: skip
    def test_haproxyAcceptsItsOwn(self, name, mode, tmp_path):
        config = tmp_path / "haproxy.cfg"
        values = {**VALUES, "certificate": Certificate(tmp_path / "certificate").path}
        config.write_text(PROGRAMS[name].render(mode, values))
        done = subprocess.run(
            [PROGRAMS["haproxy"].find(), "-c", "-f", config], capture_output=True, timeout=20
        )
        assert (done.returncode, done.stderr.count(b"WARNING")) == (0, 0), done.stderr

    def test_statusOfNginx(self):
        text = (
            b"Active connections: 1 \nserver accepts handled requests\n 33 33 198413 \n"
            b"Reading: 0 Writing: 1 Waiting: 0 \n"
        )
        assert parseStatus(text) == (33, 198413)
        with pytest.raises(OSError, match="404"):
            parseStatus(b"404 Not Found")


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 96\r\nConnection: close\r\n\r\n" + SMALL


class Greeter:
    """
    A server with TLS that has one answer.

    @ivar agreed: suite, version and whether it was resumed, of every handshake.
    """

    def __init__(self, certificate, answer=ANSWER):
        self.answer = answer
        self.agreed = []
        self._closing = False
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.path)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._closing:
            skt, _ = self._listening.accept()
            with skt:
                skt.settimeout(5)
                try:
                    with self._context.wrap_socket(skt, server_side=True) as tls:
                        self.agreed.append((*tls.cipher()[:2], tls.session_reused))
                        tls.recv(4096)
                        tls.sendall(self.answer)
                        tls.unwrap()
                except OSError:
                    # wrk tries the address first, and leaves off in the middle.
                    continue

    def close(self):
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listening.close()


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path / "certificate")


@pytest.fixture
def greeter(certificate):
    server = Greeter(certificate)
    yield server
    server.close()


def connectOnce(port):
    """@return: the L{handshakes.Tally} after one connection."""
    tally = handshakes.Tally()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for skt, event in handshakes.connection(context, port, tally):
        poller = select.poll()
        poller.register(skt, event)
        poller.poll(5000)
    return tally


class TestHandshakes:
    def test_everyOneIsFull(self, greeter, certificate):
        """No session is offered, though the server gives tickets with each connection."""
        report = handshakes.drive(
            greeter.port, connections=2, seconds=1, cpus=frozenset(os.sched_getaffinity(0)),
            environment=certificate.clients,
        )  # fmt: skip
        assert report.problems == ()
        assert 2 < report.requests <= len(greeter.agreed)
        assert set(greeter.agreed) == {(SUITE, VERSION, False)}

    @pytest.mark.needs("wrk")
    def test_wrkOffersTheSameAndResumes(self, greeter, certificate):
        wrk.drive(
            command.need("wrk"), f"https://127.0.0.1:{greeter.port}/small", connections=1,
            seconds=1, headers=[], script=None, cpus=frozenset(os.sched_getaffinity(0)),
            environment=certificate.clients,
        )  # fmt: skip
        assert {each[:2] for each in greeter.agreed} == {(SUITE, VERSION)}
        assert greeter.agreed[-1][2]

    def test_anotherSuiteIsInvalid(self, greeter, monkeypatch):
        monkeypatch.setattr(handshakes, "SUITE", "TLS_OTHER")
        tally = connectOnce(greeter.port)
        assert tally.times == []
        [problem] = tally.wrong
        assert problem.startswith("agreed on ('TLS_")

    def test_whatIsResumedIsInvalid(self):
        tls = SimpleNamespace(session_reused=True, cipher=lambda: (SUITE, VERSION, 128))
        assert handshakes.agreed(tls) == "the handshake was not a full one, it resumed a session"

    @pytest.mark.parametrize(
        "answer", [ANSWER[:-1], ANSWER.replace(b"200", b"503"), b""], ids=["cut", "503", "none"]
    )
    def test_anotherAnswerIsInvalid(self, greeter, answer):
        greeter.answer = answer
        assert list(connectOnce(greeter.port).wrong) == [f"answered with {answer[:40]!r}"]

    def test_report(self):
        tally = handshakes.Tally([0.002] * 198 + [0.003, 0.004])
        assert tally.report(2.0) == WrkReport(200, 2.0, 3.0)
        tally.wrong["Connection refused"] = 3
        assert tally.report(2.0).problems == ("3 connections: Connection refused",)
        assert handshakes.Tally().report(2.0).problems == ("no request was answered",)

    def test_reportOfTheProcess(self):
        printed = {"requests": 200, "seconds": 2.0, "p99": 3.0, "problems": ["odd"]}
        assert handshakes.parse(json.dumps(printed), "") == WrkReport(200, 2.0, 3.0, ("odd",))

    @pytest.mark.parametrize("out", ["", "1", "{}", '{"problems": [], "more": 1}'])
    def test_anythingElseIsNoReport(self, out):
        with pytest.raises(OSError, match=r"not a report .*Traceback"):
            handshakes.parse(out, "Traceback")

    def test_fetchBelievesNoOther(self, greeter, certificate, tmp_path):
        url = f"https://127.0.0.1:{greeter.port}/small"
        assert fetch(url, certificate.trusting()) == (200, SMALL)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            fetch(url, Certificate(tmp_path / "other").trusting())


class TestSystem:
    def test_twoCPUsAreKeptApart(self):
        assert place([0, 1]) == Placement(frozenset({1}), frozenset({0}))
        assert place([2, 3, 5]) == Placement(frozenset({5}), frozenset({2, 3}))
        assert str(place([0, 1])) == "program on CPU 1, wrk and nginx on CPU 0"

    def test_everywhere(self):
        every = place([2, 3, 5]).everywhere
        assert every == Placement(frozenset({2, 3, 5}), frozenset({2, 3, 5}))
        assert place([0]).everywhere == place([0])

    def test_confinedUntilTheEnd(self):
        before = os.sched_getaffinity(0)
        one = frozenset(sorted(before)[:1])
        with pytest.raises(ZeroDivisionError), confined(one):
            assert os.sched_getaffinity(0) == one
            raise ZeroDivisionError
        assert os.sched_getaffinity(0) == before

    def test_oneCPUIsNotPinned(self):
        assert not place([0]).pinned
        assert str(place([0])) == "one CPU for everything, nothing is pinned"

    def test_ticksSplitTheExactTime(self):
        earlier = CPUTime(total=1_000_000_000, user=10, system=20)
        later = CPUTime(total=1_400_000_000, user=20, system=50)
        assert later.since(earlier) == pytest.approx((0.1, 0.3))

    def test_lessThanATickIsUserTime(self):
        assert CPUTime(3_000_000, 0, 0).since(CPUTime(0, 0, 0)) == (0.003, 0.0)

    def test_ownCPUTimeGrows(self):
        before = cpuTime(os.getpid())
        sum(range(1000))
        assert cpuTime(os.getpid()).total > before.total

    def test_CPUTimeOfChildrenAndTheirs(self, tmp_path):
        """Those that a thread has started as well; nobody else's."""
        script = tmp_path / "family.py"
        script.write_text(
            "import subprocess, sys, threading\n"
            "level = int(sys.argv[1])\n"
            "def child(): subprocess.Popen([sys.executable, __file__, str(level - 1)]).wait()\n"
            "if level: threading.Thread(target=child).start()\n"
            "else: print(sum(range(3_000_000)), flush=True)\n"
            "threading.Event().wait()\n"
        )
        cpus = frozenset(os.sched_getaffinity(0))
        with Child("family", [sys.executable, str(script), "2"], tmp_path, cpus) as child:
            child.waitUntil(lambda: child.out.read_text() != "", 20)
            [middle] = children(child.pid)
            [last] = children(middle)
            assert children(last) == []
            one, two, three = map(cpuTime, (last, middle, child.pid))
            os.kill(middle, signal.SIGKILL)
            os.kill(last, signal.SIGKILL)
        # Only the last has had something to do besides its start.
        assert three.total > two.total > one.total > 0
        assert three.user >= two.user >= one.user

    def test_CPUTimeOfNobody(self):
        with subprocess.Popen(["true"]) as ended:
            pass
        with pytest.raises(OSError):
            cpuTime(ended.pid)

    def test_memoryIsInBytes(self):
        text = (
            "5616f10e1000-7ffca2c9b000 ---p 00000000 00:00 0          [rollup]\n"
            "Rss:                1764 kB\nPss:                 367 kB\nPss_Dirty:  116 kB\n"
        )
        assert parseRollup(text) == Memory(rss=1764 * 1024, pss=367 * 1024)
        assert memory(os.getpid()).rss > 1024 * 1024

    def test_portsAreDifferent(self):
        assert len(set(freePorts(5))) == 5

    def test_childEndsWithItsBlock(self, tmp_path):
        cpus = frozenset(os.sched_getaffinity(0))
        with Child("sleeper", ["sleep", "60"], tmp_path, cpus) as child:
            child.waitUntil(lambda: True, 5)
            pid = child.pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    def test_childThatFailsIsQuoted(self, tmp_path):
        failing = [sys.executable, "-c", "import sys; sys.exit('no such option: frobnicate')"]
        cpus = frozenset(os.sched_getaffinity(0))
        with (
            Child("frob", failing, tmp_path, cpus) as child,
            pytest.raises(NotStarted, match=r"(?s)frob: ended with code 1.*no such option"),
        ):
            child.waitUntil(lambda: False, 10)

    def test_executableThatIsNotThere(self, tmp_path):
        with pytest.raises(NotStarted, match="nowhere"), Child("x", ["/nowhere"], tmp_path, {0}):
            pytest.fail("it started")


class TestSamples:
    report = WrkReport(requests=1000, seconds=2.0, p99=1.5)

    def test_figures(self):
        figures = sample(CASES["http-small"], self.report, (0.01, 0.03), (32, 1010)).figures
        assert figures == pytest.approx(
            {"cpu": 40, "user": 10, "system": 30, "rate": 500, "bytes": 48000, "p99": 1.5,
             "busy": 0.02, "opened": 32}
        )  # fmt: skip
        assert set(CASES["http-small"].columns) <= set(figures) <= set(FIGURES)

    def test_aRequestAndItsAnswerAreTwoMessages(self):
        taken = sample(CASES["tcp-small"], self.report, (0.01, 0.03), (32, 1010))
        assert taken.figures["cpu"] == pytest.approx(20)

    def test_aHandshakeForEveryRequest(self):
        taken = sample(CASES["https-handshakes"], self.report, (0.1, 0.3), (32, 1010))
        assert taken.figures["cpu"] == pytest.approx(400)

    def test_answersThatTheServerNeverSaw(self):
        taken = sample(CASES["http-small"], self.report, (0.01, 0.03), (0, 400))
        assert taken.problems == ("1000 answers to 400 requests at the server",)

    def test_whoAnswersAloneAsksNobody(self):
        assert sample(CASES["workers"], self.report, (0.01, 0.03), (0, 0)).problems == ()
        taken = sample(CASES["workers"], self.report, (0.01, 0.03), (0, 1000))
        assert taken.problems == ("1000 answers to 1000 requests at the server",)

    def test_serverConnectionsThatAreNotKept(self):
        taken = sample(CASES["http-small"], self.report, (0.01, 0.03), (1000, 1000))
        assert taken.problems == ("1000 server connections for 1000 requests",)

    @pytest.mark.parametrize("name", ["http-small", "https-small", "https-handshakes"])
    @pytest.mark.parametrize("lines", [2005, 2037, 2071])
    def test_aLineForEveryRequest(self, lines, name):
        assert checkLog(CASES[name], lines, 5, [self.report] * 2) == []

    @pytest.mark.parametrize("lines", [0, 2004, 2072])
    def test_linesMissingOrTooMany(self, lines):
        assert checkLog(CASES["http-small"], lines, 5, [self.report] * 2) == [
            f"the access log has {lines} lines, 2005 to 2071 are right"
        ]

    def test_inModeTCPALineForEveryConnection(self):
        assert checkLog(CASES["tcp-small"], 5 + 2 * 32, 5, [self.report] * 2) == []
        assert checkLog(CASES["tcp-small"], 2005, 5, [self.report] * 2) != []


class Answers:
    """Stands where a running program does: says what it is told to say."""

    def __init__(self, small=(200, SMALL), seen=(200, b"127.0.0.1")):
        self._answers = {"/small": small, CASES["workers"].path: small, "/seen": seen}

    def fetch(self, path):
        return self._answers[path]


class TestAnswers:
    def test_right(self):
        assert checkAnswers(CASES["http-small"], Answers()) == []

    def test_anotherStatus(self):
        assert checkAnswers(CASES["http-small"], Answers(small=(503, b"no server"))) == [
            "/small was answered with 503 and 9 bytes",
            "/small was answered with 503 and 9 bytes",
        ]

    def test_otherBytes(self):
        problems = checkAnswers(CASES["http-small"], Answers(small=(200, b"x" * 96)))
        assert set(problems) == {"/small came back with other bytes"}

    @pytest.mark.parametrize("name", ["http-small", "https-small"])
    def test_clientThatIsNotTold(self, name):
        assert checkAnswers(CASES[name], Answers(seen=(200, b""))) == [
            "the server was told X-Forwarded-For: b''"
        ]

    def test_whoAnswersAloneIsAskedForItsAnswerOnly(self):
        assert checkAnswers(CASES["workers"], Answers(seen=(503, b""))) == []
        wrong = checkAnswers(CASES["workers"], Answers(small=(200, b"x" * 96)))
        assert len(wrong) == 2

    def test_modeTCPTellsNothing(self):
        assert checkAnswers(CASES["tcp-small"], Answers(seen=(200, b""))) == []


def rounds(*values, problems=()):
    """An outcome with one round for each value; the others are the value too."""
    return Outcome([Sample(dict.fromkeys(FIGURES, value), problems) for value in values])


class TestCases:
    def test_whoTakesPart(self):
        case = CASES["thousand-hash"]
        able = [name for name, each in PROGRAMS.items() if case.allows(name, each.modes)]
        assert able == ["lbtwist", "plain"]
        case = CASES["http-thousand"]
        able = [name for name, each in PROGRAMS.items() if case.allows(name, each.modes)]
        assert able == ["lbtwist", "plain", "haproxy", "haproxy-plain"]

    def test_thereIsSomebodyToCompareWith(self):
        for case in CASES.values():
            for peer in (goal.peer for goal in case.goals if goal.peer):
                assert case.allows(peer, PROGRAMS[peer].modes), (case.name, peer)
            assert case.silent | case.only <= set(PROGRAMS)

    def test_tooFewCPUs(self):
        """Nothing is started, and nothing has failed."""
        bench = Bench(None, None, place([0]), "wrk", 3, 4)
        found = runLoad(bench, CASES["workers"], list(PROGRAMS.values()))
        note = "not measured: 2 CPUs are needed, there are 1"
        assert found == {"lbtwist": Outcome(note=note), "plain": Outcome(note=note)}

    @pytest.mark.needs("wrk")
    def test_keysDiffer(self):
        """What C{keys.lua} asks for, once it is asked by wrk."""
        asked = []
        listening = socket.create_server(("127.0.0.1", 0))

        def answer():
            # wrk tries the address first.
            listening.accept()[0].close()
            skt, _ = listening.accept()
            # It ends in the middle of an answer.
            with skt, contextlib.suppress(ConnectionError):
                while data := skt.recv(4096):
                    asked.append(data)
                    skt.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        wrk.drive(
            command.need("wrk"), f"http://127.0.0.1:{listening.getsockname()[1]}/small",
            connections=1, seconds=1, headers=[], script=TEMPLATES / "keys.lua",
            cpus=frozenset(os.sched_getaffinity(0)), environment={},
        )  # fmt: skip
        answering.join()
        listening.close()
        assert len(asked) > 20
        # It has made one for itself, to see what there is.
        for key, request in enumerate(asked[:20], 2):
            head = request.decode().splitlines()
            assert head[0] == f"GET /small?user={key} HTTP/1.1"
            assert f"X-User: {key}" in head

    def test_keyedCasesHaveTheScript(self):
        scripts = {name: case.script for name, case in CASES.items() if case.script}
        assert scripts == {f"thousand-{name}": "keys.lua" for name in KEYED}


class TestChoices:
    @pytest.mark.parametrize("balance", CHOICES)
    def test_everyKeyIsAnother(self, balance, monkeypatch):
        """A balancer that goes by keys has one for each exchange, and they meet many servers."""
        monkeypatch.setattr(choices, "KEYS", 500)
        pool = choices.poolOf(balance, 10)
        made = choices.exchanges(balance, pool)
        if balance.split()[0] in ("source", "uri", "hash", "rdp-cookie"):
            key = pool.balancer._key
            assert len({key.of(exchange) for exchange in made}) == choices.KEYS
        chosen = []
        for exchange in made:
            server = pool.choose(exchange)
            pool.hold(server, exchange, 1.0)
            chosen.append(server.name)
        assert len(set(chosen)) == (1 if balance == "first" else 10)

    def test_cost(self, monkeypatch):
        monkeypatch.setattr(choices, "COUNT", 50)
        monkeypatch.setattr(choices, "CHOICES", ["peak-ewma"])
        found = choices.costs()["peak-ewma"]
        assert found["few"] > 0
        assert found["more"] == found["many"] - found["few"]

    def test_othersHaveNone(self):
        others = [program for name, program in PROGRAMS.items() if name != "lbtwist"]
        assert choices.runChoices(None, CASES["choices"], others) == {}


class TestReport:
    def test_medianLeavesOutInvalidRounds(self):
        outcome = rounds(10.0, 12.0, 30.0)
        outcome.samples.append(Sample({"cpu": 1.0}, ("socket errors: read 3",)))
        assert medians(outcome)["cpu"] == 12.0
        assert medians(Outcome()) == {}

    def test_ratiosAreTakenPerRound(self):
        # The machine was half as fast in the second round, for both.
        assert ratios("cpu", rounds(20.0, 40.0).samples, rounds(10.0, 20.0).samples) == [2.0, 2.0]

    def test_invalidRoundsHaveNoRatio(self):
        theirs = rounds(10.0).samples + rounds(1.0, problems=("odd",)).samples
        assert ratios("cpu", rounds(20.0, 20.0).samples, theirs) == [2.0]

    def test_goals(self):
        assert Goal(2.2, "haproxy").holds(2.2)
        assert not Goal(2.2, "haproxy").holds(2.21)
        assert Goal(0.8, "haproxy", least=True).holds(0.81)
        assert not Goal(0.8, "haproxy", least=True).holds(0.79)

    def test_verdicts(self):
        outcomes = {
            "lbtwist": rounds(20.0, 22.0, 21.0),
            "haproxy": rounds(10.0, 10.0, 10.0),
            "envoy": rounds(10.0, 10.0, 10.0),
        }
        assert [str(each) for each in verdicts(CASES["http-small"], outcomes)] == [
            "lbtwist / haproxy = 2.10 (rounds 2.00 2.20 2.10), goal <= 2.2: holds",
            "lbtwist / envoy = 2.10 (rounds 2.00 2.20 2.10), goal <= 1: DOES NOT HOLD",
            "lbtwist / caddy: not measured, goal <= 1",
        ]

    def test_peerWithoutAGoal(self):
        outcomes = {"lbtwist": rounds(5.0), "haproxy": rounds(5.0), "envoy": rounds(10.0)}
        assert [str(each) for each in verdicts(CASES["http-large"], outcomes)] == [
            "lbtwist / haproxy = 1.00 (rounds 1.00), goal >= 0.8: holds",
            "lbtwist / envoy = 0.50 (rounds 0.50)",
        ]

    def test_goalThatIsAFigure(self):
        outcomes = {"lbtwist": rounds(4000.0, 6000.0, 4200.0)}
        assert [str(each) for each in verdicts(CASES["idle-memory"], outcomes)] == [
            "lbtwist = 4200 (rounds 4000 6000 4200), goal <= 5120: holds"
        ]

    def test_whoDidLessWorkIsNotCompared(self):
        outcomes = {"lbtwist": rounds(5.0), "haproxy": rounds(10.0)}
        outcomes["lbtwist"].problems.append("the access log has 0 lines, 10 to 20 are right")
        assert all(each.holds is None for each in verdicts(CASES["http-small"], outcomes))

    def test_whatHAProxyPaysItself(self):
        """Not a goal of ours; and a thousand servers of ours are not compared with its ten."""
        outcomes = {
            "lbtwist": rounds(11.0), "plain": rounds(10.0), "haproxy": rounds(6.0),
            "haproxy-plain": rounds(4.0),
        }  # fmt: skip
        assert [str(each) for each in verdicts(CASES["http-thousand"], outcomes)] == [
            "lbtwist / plain = 1.10 (rounds 1.10), goal <= 1.1: holds",
            "lbtwist / haproxy = 1.83 (rounds 1.83)",
            "haproxy / haproxy-plain = 1.50 (rounds 1.50)",
        ]
        theirs = {name: each for name, each in outcomes.items() if "haproxy" in name}
        assert [str(each) for each in verdicts(CASES["http-thousand"], theirs)] == [
            "haproxy / haproxy-plain = 1.50 (rounds 1.50)"
        ]
        del outcomes["haproxy"]
        assert [each.peer for each in verdicts(CASES["http-thousand"], outcomes)] == ["plain"]

    def test_aGoalForEachBalancer(self):
        outcomes = {"roundrobin": rounds(0.25), "leastconn": rounds(2.5, 2.0, 2.25)}
        assert [str(each) for each in verdicts(CASES["choices"], outcomes)] == [
            "roundrobin = 0.25 (rounds 0.25), goal <= 2: holds",
            "leastconn = 2.25 (rounds 2.50 2.00 2.25), goal <= 2: DOES NOT HOLD",
        ]

    def test_note(self):
        """It is no failure, and the goal is not known to hold."""
        outcomes = {"lbtwist": Outcome(note="not measured: 2 CPUs are needed, there are 1")}
        assert table(CASES["workers"], outcomes).splitlines()[-2:] == [
            "  requests/s: lbtwist / plain: not measured, goal >= 1.7",
            "  not measured: 2 CPUs are needed, there are 1",
        ]
        found = asJSON(CASES["workers"], outcomes)["programs"]["lbtwist"]
        assert (found["failure"], found["note"][:12]) == ("", "not measured")

    def test_tableWithoutConnections(self):
        said = table(CASES["store-memory"], {"lbtwist": rounds(1.0)}).splitlines()
        assert said[0] == f"store-memory: {CASES['store-memory'].title}"

    def test_withoutLbtwistThereIsNoVerdict(self):
        assert verdicts(CASES["http-small"], {"haproxy": rounds(10.0)}) == []

    def test_table(self):
        outcomes = {
            "lbtwist": rounds(20.0, 22.0, 21.0),
            "haproxy": rounds(10.0, 10.0, 10.0),
            "envoy": Outcome(failure="envoy: ended with code 1"),
            "caddy": rounds(40.0, problems=("socket errors: timeout 7",)),
        }
        assert table(CASES["http-small"], outcomes).splitlines() == [
            "http-small: kept connections, 96-byte answers; 32 connections",
            "           CPU us/request   user  system  requests/s  MB/s  p99 ms  busy %  opened",
            "  lbtwist           21.00  21.00   21.00          21   0.0   21.00    2100      21",
            "  haproxy           10.00  10.00   10.00          10   0.0   10.00    1000      10",
            "  envoy                 -      -       -           -     -       -       -       -",
            "  caddy                 -      -       -           -     -       -       -       -"
            "  INVALID",
            "  CPU us/request: lbtwist / haproxy = 2.10 (rounds 2.00 2.20 2.10),"
            " goal <= 2.2: holds",
            "  CPU us/request: lbtwist / envoy: not measured, goal <= 1",
            "  CPU us/request: lbtwist / caddy: not measured, goal <= 1",
            "  envoy: ended with code 1",
            "  caddy is invalid: round 1: socket errors: timeout 7",
        ]

    def test_everyCaseHasATable(self):
        for case in CASES.values():
            assert case.figure in case.columns
            assert table(case, {"lbtwist": rounds(1.0), "haproxy": rounds(1.0)})

    def test_json(self):
        outcomes = {"lbtwist": rounds(20.0, 22.0), "haproxy": rounds(10.0, 10.0)}
        found = asJSON(CASES["http-small"], outcomes)
        assert [each["cpu"] for each in found["programs"]["lbtwist"]["rounds"]] == [20.0, 22.0]
        assert found["programs"]["lbtwist"]["medians"]["cpu"] == 21.0
        assert found["verdicts"][0] == {
            "subject": "lbtwist", "peer": "haproxy",
            "rounds": [2.0, 2.2], "value": pytest.approx(2.1),
            "goal": "<= 2.2", "holds": True,
        }  # fmt: skip


class TestCommand:
    def test_everythingByDefault(self):
        options = command.parseArguments([])
        assert options.case == list(CASES)
        assert options.programs == [
            "lbtwist", "plain", "haproxy", "haproxy-plain", "envoy", "caddy"
        ]  # fmt: skip
        assert (options.rounds, options.seconds, options.json) == (3, 4, None)

    def test_casesAndAPeer(self):
        options = command.parseArguments(
            ["--case", "tcp-small,http-small", "--case", "http-large", "--peer", "haproxy"]
        )
        assert options.case == ["http-small", "http-large", "tcp-small"]
        assert options.programs == ["lbtwist", "haproxy"]

    def test_onlyThese(self):
        assert command.parseArguments(["--only", "envoy,haproxy"]).programs == ["haproxy", "envoy"]

    @pytest.mark.parametrize("text", ["http-smal", "http-small,", ""])
    def test_unknownNames(self, text):
        with pytest.raises(argparse.ArgumentTypeError, match="is none of http-small, "):
            command.names(list(CASES), text)

    @pytest.mark.parametrize("text", ["0", "-1", "2.5", "x"])
    def test_roundsAreCounted(self, text):
        with pytest.raises(argparse.ArgumentTypeError):
            command.positive(text)

    def test_missingProgramIsALine(self, monkeypatch, capsys):
        monkeypatch.setattr("bench.programs.find_spec", lambda name: None)
        assert command.installed(["lbtwist"]) == ([], {"lbtwist": "missing"})
        assert capsys.readouterr().out == (
            "lbtwist is missing: twisted.plugins.lbtwist_plugin was not found\n"
        )

    def test_nothingWithoutWrk(self, monkeypatch, capsys):
        monkeypatch.setattr(command, "find", lambda name: None)
        assert command.main([]) == 1
        assert capsys.readouterr().err == (
            "bench: wrk: is not installed, and nothing can be measured without it\n"
        )
