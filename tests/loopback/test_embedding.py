"""C{docs/listings/embedded.py}: a balancer among the services of another program."""

import sys

from loopback import wire
from loopback.running import ROOT, TROUBLE, Child, environment, freePorts, listens, write

LISTING = ROOT / "docs/listings/embedded.py"


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
