"""Whose address a server sees, on real sockets: the balancer's, one of several, and whose."""

import socket
from collections import Counter
from contextlib import contextmanager

from loopback import wire
from loopback.running import Balancer, freePorts

CONFIG = """\
    [global]
    log = file:access.log

    [frontend www]
    bind = 127.0.0.1:{www}
    pool = app

    [pool app]
    http-reuse = never
    {source}
    server a = 127.0.0.1:{server}
    """


@contextmanager
def asked(tmp_path, source):
    """@return: a function that asks, and returns the server's peer and the request's head."""
    with wire.listening() as server:
        www = freePorts(1)[0]
        text = CONFIG.format(www=www, source=source, server=wire.port(server))
        with Balancer(tmp_path, text):

            def ask():
                client = socket.create_connection(("127.0.0.1", www), 10, ("127.0.0.5", 0))
                with client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                    with wire.accept(server) as connection:
                        head = wire.readHead(connection)
                        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                        assert wire.readHead(client).startswith(b"HTTP/1.1 204 ")
                        return connection.getpeername()[0], head

            yield ask


def test_severalAddressesAreSpread(tmp_path):
    """Row 000.11: C{source} with two addresses: the server sees these, and both of them."""
    with asked(tmp_path, "source = 127.0.0.2, 127.0.0.3") as ask:
        assert Counter(ask()[0] for _ in range(8)) == {"127.0.0.2": 4, "127.0.0.3": 4}


def test_withoutSourceItIsTheKernelsChoice(tmp_path):
    """
    Row 000.11: what others call automap. Row 003.11: the server sees the balancer's
    address, and the client's in X-Forwarded-For.
    """
    with asked(tmp_path, "") as ask:
        peer, head = ask()
    assert peer == "127.0.0.1"
    assert b"\r\nX-Forwarded-For: 127.0.0.5\r\n" in head
