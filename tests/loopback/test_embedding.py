"""The programs of C{docs/embedding.md}: balancers inside of other programs."""

import re
import sys

from loopback import wire
from loopback.running import (
    ROOT,
    TROUBLE,
    Child,
    environment,
    freePorts,
    listens,
    run,
    write,
)

LISTINGS = ROOT / "docs/listings"
LISTING = LISTINGS / "embedded.py"


def test_theListingRuns(tmp_path):
    port, = freePorts(1)
    config = write(
        tmp_path / "lb.ini",
        f"""\
        [frontend www]
        bind = 127.0.0.1:{port}
        pool = app
        [pool app]
        server one = demo:one
        """,
    )
    with Child(
        [sys.executable, str(LISTING), str(config)], tmp_path, "embedded", env=environment()
    ) as child:
        child.until(lambda: listens(port))
        with wire.connect(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert b"demonstration server one" in wire.readResponse(client)[1]
            child.until(lambda: "www has " in child.out)
        assert child.terminate() == 0
        assert not listens(port)
        assert TROUBLE.findall(child.out + child.err) == []


def test_aResourceAsAServer(tmp_path):
    port, = freePorts(1)
    command = [sys.executable, str(LISTINGS / "object_server.py")]
    with Child(command, tmp_path, "object", env=environment(PORT=str(port))) as child:
        child.until(lambda: listens(port))
        with wire.connect(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            said = wire.readResponse(client)[1]
            assert said == b"hello 127.0.0.1, the shop is open\n"
        assert child.terminate() == 0
        assert TROUBLE.findall(child.out + child.err) == []


def test_aClientOfAPool(tmp_path):
    """Two servers, one of which is not there: nobody notices."""
    nobody, = freePorts(1)
    write(
        tmp_path / "lb.ini",
        f"""\
        [pool app]
        server gone = 127.0.0.1:{nobody}
        server one = demo:one
        server two = demo:two
        """,
    )
    done = run(
        sys.executable, "-W", "ignore", LISTINGS / "pool_client.py", "lb.ini", "app",
        cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    said = re.compile(r"200 This is the demonstration server (one|two)\.")
    assert len(lines) == 5 and all(map(said.fullmatch, lines)), lines


def test_endpointsOfOthersCostNothing():
    """C{clientFromString} looks at every plug-in; ours brings nothing with it."""
    script = (
        "import sys; from twisted.internet import reactor;"
        "from twisted.internet.endpoints import clientFromString as made;"
        "made(reactor, 'tcp:127.0.0.1:1');"
        "print([name for name in ('lbtwist.service', 'lbtwist.pool') if name in sys.modules]);"
        "made(reactor, 'lb:app'); print('lbtwist.service' in sys.modules)"
    )
    done = run(sys.executable, "-c", script, env=environment())
    assert done.stdout.split("\n")[:2] == ["[]", "True"], done.stdout + done.stderr


def test_eachIsShown():
    page = (ROOT / "docs/embedding.md").read_text()
    for name in ("embedded", "object_server", "pool_client"):
        assert f"{{literalinclude}} listings/{name}.py" in page
