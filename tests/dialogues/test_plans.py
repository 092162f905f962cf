"""
An administrator asks what another file would change in a balancer that runs: it is said in
words, with how many it concerns, and nothing changes.
"""

import os

import pytest
from spoken import GET, toldOf

from lbtwist.admin import planning
from lbtwist.testing import Balancer

CONFIG = """
[global]
admin = ${admin}, ${admin}.look level=user, ${admin}.watch level=operator
[conditions]
private = path.startswith("/private")
[frontend www]
bind = ${bind}
pool = app
request = deny if private
[frontend old]
mode = tcp
bind = ${bind}.old
pool = tcp
[pool app]
persist = source
server a = ${a}
server b = ${b}
[pool tcp]
mode = tcp
server c = ${c} maxconn=1
"""
OLD = CONFIG[CONFIG.index("[frontend old]"):CONFIG.index("[pool app]")]


class Planned(Balancer):
    """A balancer, and a file that is to be compared with what it runs."""

    def __init__(self, path, setenv):
        super().__init__(CONFIG, "a", "b", "c")
        self.path = path
        config = self.running.config
        servers = [one for pool in config.pools.values() for one in pool.servers]
        setenv("bind", str(config.frontends["www"].bind[0]))
        setenv("admin", str(config.settings.admin[0]))
        for server in servers:
            setenv(server.name, str(server))

    def plan(self, text):
        """@return: what is said of a file with this text."""
        self.path.write_text(text)
        return self.asks(f"plan {self.path}").splitlines()


@pytest.fixture
def balancer(threads, tmp_path, monkeypatch):
    with Planned(tmp_path / "new.ini", monkeypatch.setenv) as balancer:
        yield balancer


def test_nothing(balancer):
    before = balancer.running.config
    assert balancer.plan(CONFIG) == ["nothing changes"]
    assert balancer.running.config is before


def test_howManyItConcerns(balancer):
    client = balancer.client()
    client.sends(GET)
    balancer.server("a").accepts()
    session, queued = (balancer.client(frontend="old") for _ in range(2))
    balancer.server("c").accepts()
    text = CONFIG.replace(OLD, "").replace("server b = ${b}\n", "server d = unix:/run/d\n")
    text = text.replace("server a = ${a}", "server a = ${a} weight=2")
    assert balancer.plan(text.replace("maxconn=1", "maxconn=2")) == [
        f"{balancer.path}:14:1: warning: [pool tcp] is used by no frontend",
        "- frontend old (2 connections end when they are done)",
        "~ server app/a: weight 1 -> 2 (1 session)",
        "- server app/b",
        "+ server app/d = unix:/run/d",
        "~ server tcp/c: maxconn 1 -> 2 (1 session)",
        "1 added, 2 removed, 2 changed; 3 connections touched",
    ]
    for one in (client, session, queued):
        one.closes()


def test_clientsThatAreBound(balancer):
    client = balancer.client()
    client.sends(GET)
    server = balancer.server("a").accepts()
    server.receives(rb"GET .*")
    assert balancer.plan(CONFIG.replace("server a = ${a}\n", "")) == [
        "- server app/a (1 session ends when it is done, 1 client bound to it)",
        "1 removed; 1 connection touched",
    ]
    client.closes()


def test_whoWaitsForAServer(balancer):
    balancer.becomes(CONFIG.replace("server a = ${a}", "server a = ${a} maxconn=1"))
    clients = [balancer.client(port=port) for port in (1, 2)]
    for client in clients:
        client.sends(GET)
    balancer.server("a").accepts()
    assert balancer.plan(CONFIG) == [
        "~ server app/a: maxconn 1 -> 0 (1 session, 1 queued)",
        "1 changed; 2 connections touched",
    ]
    for client in clients:
        client.closes()


def test_whoWaitsInAPool(balancer):
    clients = [balancer.client(frontend="old", port=port) for port in (1, 2, 3)]
    balancer.server("c").accepts()
    text = CONFIG.replace("server c = ${c} maxconn=1\n", "server c = ${c} maxconn=1\nretries = 1\n")
    assert balancer.plan(text) == [
        "~ pool tcp: retries 3 -> 1 (1 session, 2 queued)",
        "1 changed; 3 connections touched",
    ]
    for client in clients:
        client.closes()


def test_whoUsesWhatChanges(balancer):
    client = balancer.client()
    assert balancer.plan(CONFIG.replace('"/private"', '"/secret"')) == [
        '~ condition private: is path.startswith("/private") -> path.startswith("/secret***'
        " (used by frontend www)",
        "1 changed; 1 connection touched",
    ]
    client.closes()


def test_forPrograms(balancer):
    client = balancer.client()
    balancer.path.write_text(CONFIG.replace("persist = source", "persist = source\nretries = 2"))
    found = toldOf(balancer, f"plan {balancer.path}")
    assert found["severity"] == "output"
    assert found["value"] == {
        "running": True, "added": 0, "removed": 0, "changed": 1, "connections": 0,
        "entries": [{
            "what": "changed", "kind": "pool", "name": "app", "value": "", "users": [],
            "changes": [{"what": "changed", "option": "retries", "before": "3", "after": "2",
                         "line": 0, "was": 0}],
            "touched": {"connections": 0, "sessions": 0, "queued": 0, "bound": 0},
        }],
        "problems": [],
        "lines": ["~ pool app: retries 3 -> 2", "1 changed; no connection touched"],
    }  # fmt: skip
    client.closes()


def test_problemsOfTheFile(balancer):
    path = balancer.path
    said = balancer.plan(CONFIG.replace("maxconn=1", "maxcon=1") + "balance = lestconn\n")
    assert len(said) == 3
    assert said[0].startswith(f"{path}:20:")
    assert "unknown option 'maxcon', did you mean 'maxconn'?" in said[0]
    assert said[1].startswith(f"{path}:21:11: error: [pool tcp] balance: unknown 'lestconn'")
    assert said[2] == "2 errors: nothing would change"
    found = toldOf(balancer, f"plan {path}")
    assert found["severity"] == "error"
    assert found["text"].splitlines() == said
    assert [(one["file"], one["line"]) for one in found["value"]["problems"]] == [
        (str(path), 20), (str(path), 21)
    ]  # fmt: skip


def test_certificatesAreLookedAt(balancer):
    text = CONFIG.replace("server a = ${a}", "server a = ${a} tls sni=a certificate=/none.pem")
    text = text.replace("bind = ${bind}\n", "bind = ${bind}, 127.0.0.1:1 tls=site\n")
    [section, server, last] = balancer.plan(f"{text}[tls site]\ncertificate = gone.pem\n")
    gone = balancer.path.parent / "gone.pem"
    assert section.startswith(f"{balancer.path}:21:1: error: {gone}: cannot be read: ")
    assert server.startswith(f"{balancer.path}:16:12: error: /none.pem: cannot be read: ")
    assert last == "2 errors: nothing would change"


def test_manyProblemsAreBounded(balancer):
    count = planning.MOST_PROBLEMS + 5
    said = balancer.plan("[pool app]\n" + "x = 1\n" * count)
    assert len(said) == planning.MOST_PROBLEMS + 2
    assert said[-2].startswith("and ")


def test_whatAFileIsCalledCannotSpeakForTheBalancer(balancer):
    balancer.path = balancer.path.parent / "new\x1b[2J.ini"
    said = balancer.plan("[pool app]\n\x1b[2Jx = \x85 1\n")
    assert len(said) > 2
    assert all(line.isprintable() for line in said)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("", "Required argument: the path of a file."),
        ("a b", "Required argument: the path of a file."),
        ("lb.ini", "The path has to be absolute: it is read by the balancer."),
        ("/no/such/file", "'/no/such/file' is no file that the balancer can find."),
        ("/dev/zero", "'/dev/zero' is no file that the balancer can find."),
        ("/tmp", "'/tmp' is no file that the balancer can find."),
    ],
)
def test_whatIsNoFile(balancer, words, answer):
    assert balancer.asks(f"plan {words}") == f"{answer}\n"


def test_nobodyWaitsForAPipe(balancer):
    os.mkfifo(balancer.path)
    assert "is no file" in balancer.asks(f"plan {balancer.path}")


def test_levels(balancer):
    balancer.path.write_text(CONFIG)
    for suffix, answer in ((".look", b"Permission denied\n\n"), (".watch", b"nothing changes\n\n")):
        administrator = balancer.administrator(suffix)
        administrator.sends(f"plan {balancer.path}\n".encode())
        administrator.receivesExactly(answer)


def test_othersAreServedWhileItIsRead(balancer, threads):
    threads.patient = True
    balancer.path.write_text(CONFIG)
    administrators = [balancer.administrator() for _ in range(planning.AT_ONCE)]
    for administrator in administrators:
        administrator.sends(f"plan {balancer.path}\n".encode())
        administrator.receivesNothing()
    assert balancer.asks("show version") == "0.1.0\n"
    assert balancer.asks(f"plan {balancer.path}") == "Other files are being read: ask again.\n"
    for administrator in administrators:
        threads.work()
        balancer.pump.turn()
        administrator.receivesExactly(b"nothing changes\n\n")
    threads.patient = False
    assert balancer.plan(CONFIG) == ["nothing changes"]


def test_itIsNotWaitedForForEver(balancer, threads):
    threads.patient = True
    balancer.path.write_text(CONFIG)
    administrator = balancer.administrator()
    administrator.sends(f"plan {balancer.path}\n".encode())
    balancer.advance(planning.LIMIT + 1)
    administrator.receivesExactly(b"It has not been read in 20 s.\n\n")
    # It comes all the same, and to nobody.
    threads.work()
    balancer.pump.turn()


def test_whoAskedIsGone(balancer, threads):
    threads.patient = True
    balancer.path.write_text(CONFIG)
    administrator = balancer.administrator()
    administrator.sends(f"plan {balancer.path}\n".encode())
    administrator.closes()
    threads.work()
    balancer.pump.turn()
    threads.patient = False
    assert balancer.plan(CONFIG) == ["nothing changes"]


def test_afterItHasBecomeSo(balancer):
    text = CONFIG.replace("persist = source", "persist = source\nretries = 2")
    assert balancer.plan(text)[-1] == "1 changed; no connection touched"
    balancer.becomes(text)
    assert balancer.plan(text) == ["nothing changes"]


def test_aFaultOfOursIsInTheLog(balancer, monkeypatch):
    def prove(*arguments):
        raise RuntimeError("a fault")

    monkeypatch.setattr(planning, "prove", prove)
    assert balancer.plan(CONFIG) == ["An error, which is in the log."]
    [failure] = balancer.failures
    balancer.failures.clear()
    assert failure.getErrorMessage() == "a fault"
