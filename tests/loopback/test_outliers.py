"""
Three real servers of which one answers 500: it is ejected while requests go on, comes back,
and stays when it has been repaired.
"""

import re

import pytest
from loopback import wire
from loopback.running import Balancer, Nginx, freePorts, until

GET = b"GET /name HTTP/1.1\r\nHost: test\r\n\r\n"

pytestmark = pytest.mark.needs("nginx")


def asks(client, count):
    """@return: how often each was answered, by status and name."""
    found = {}
    for _ in range(count):
        client.sendall(GET)
        head, body, *_ = wire.readResponse(client)
        answer = (int(head.split()[1]), body.decode())
        found[answer] = found.get(answer, 0) + 1
    return found


@pytest.mark.parametrize("more", ["", "check = http GET /name expect=200,500 interval=100ms"])
def test_oneOfThreeAnswers500(tmp_path, more):
    """A check that finds nothing wrong with it does not bring it back sooner."""
    port, broken = freePorts(2)
    with (
        Nginx(tmp_path / "a", "a") as a,
        Nginx(tmp_path / "b", "b") as b,
        Nginx(tmp_path / "c", "c", broken, status=500) as c,
        Balancer(
            tmp_path,
            f"""\
            [frontend www]
            bind = 127.0.0.1:{port}
            pool = app
            [pool app]
            {more}
            outlier = consecutive-5xx=5 base-ejection=1s interval=1h
            server a = 127.0.0.1:{a.port}
            server b = 127.0.0.1:{b.port}
            server c = 127.0.0.1:{c.port}
            """,
        ) as balancer,
        wire.connect(port) as client,
    ):
        assert asks(client, 300) == pytest.approx(
            {(200, "a"): 148, (200, "b"): 147, (500, "c"): 5}, abs=2
        )
        assert "Server app/c is ejected for 1 s, reason: 5 failures in a row" in balancer.out

        def comesBack():
            found = asks(client, 10)
            return found.get((500, "c"))

        until(comesBack)
        until(lambda: (asks(client, 9), "is ejected for 2 s" in balancer.out)[1])
        c.kill()
        with Nginx(tmp_path / "d", "c", broken):
            until(lambda: (200, "c") in asks(client, 3))
            assert asks(client, 300) == {(200, name): 100 for name in "abc"}
        times = re.findall(r"app/c is ejected for (\d) s", balancer.out)
        assert times[:2] == ["1", "2"]
