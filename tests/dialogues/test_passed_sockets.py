"""
Sockets that systemd has passed, by their names, while a configuration takes the place of another.
"""

import os
import socket

import pytest

from lbtwist.config.load import loadText
from lbtwist.registry import installed
from lbtwist.testing import Balancer

TEXT = """
[frontend www]
bind = systemd:www
pool = app
[frontend more]
bind = systemd:more
pool = app
[pool app]
server a = ${a}
"""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def passed(monkeypatch):
    """Sockets called www and more."""
    found = {}
    first = None
    for name in ("www", "more"):
        skt = found[name] = socket.create_server(("127.0.0.1", 0))
        # Two that follow each other, out of the way of all others.
        number = os.dup2(skt.fileno(), (first or 200) + len(found) - 1)
        first = first or number
    monkeypatch.setattr("lbtwist.net.addresses._FIRST_PASSED", first)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "www:more")
    yield found
    for number in range(first, first + 2):
        os.close(number)
    for skt in found.values():
        skt.close()


def addresses(balancer):
    frontends = balancer.running.frontends
    return {name: frontends[name].addresses for name in frontends}


def test_eachIsItsOwn(passed):
    """A reload takes none for the other, and leaves those alone that stay."""
    with Balancer(TEXT, "a") as balancer:
        before = addresses(balancer)
        assert before == {name: [passed[name].getsockname()] for name in ("www", "more")}
        at = f"unix:{balancer.server('a').path}"
        for text in (TEXT.replace("systemd:www", "systemd:x").replace("systemd:more", "systemd:www")
                     .replace("systemd:x", "systemd:more"), TEXT):  # fmt: skip
            config, _ = loadText(text, installed(), environ={"a": at})
            balancer.running.apply(config)
            balancer.pump.turn()
            found = addresses(balancer)
            assert len({*map(str, found.values())}) == 2
            swapped = text is not TEXT
            assert (found == before) is not swapped
            with socket.create_connection(before["www"][0]) as client:
                client.sendall(GET)
                balancer.pump.turn()
                server = balancer.server("a").accepts()
                server.receives(rb"GET / HTTP/1.1\r\n.*")
                inbound = balancer.running.frontend("more" if swapped else "www").inbound
                assert inbound.active == 1
                server.closes()
            balancer.pump.turn()
