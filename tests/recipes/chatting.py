"""
WebSockets for the tests of recipes, by a library that others use too: a server that says
what it was sent, and what is tried on a connection with it.
"""

import os
import threading

from loopback import wire
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

SIZES = (0, 125, 126, 65535, 65536, 10 << 20)
"""Around the places where RFC 6455 section 5.2 writes the length otherwise, and a large one."""


class Chat:
    """
    A server that sends back what it gets. To C{ping} it pings, to C{close} it closes.

    @ivar digests: of what it was sent.
    @ivar heads: the fields of the requests that were handshakes.
    @ivar closings: code and reason that clients have given.
    """

    def __init__(self, context=None, check="/health", skt=None):
        """
        @param context: TLS is spoken, by this one.
        @param check: the path that is answered with 200, and not counted.
        @param skt: a listening socket in place of an ordinary one.
        """
        self.digests, self.heads, self.closings = [], [], []
        self._check = check
        self._server = serve(
            self._talk, None if skt else "127.0.0.1", None if skt else 0, sock=skt, ssl=context,
            process_request=self._ask, max_size=None, compression=None,
        )  # fmt: skip
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __str__(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.shutdown()

    def _ask(self, connection, request):
        if request.path == self._check:
            return connection.respond(200, "ok")
        self.heads.append(request.headers)
        return None

    def _talk(self, connection):
        try:
            for message in connection:
                if message == "ping":
                    assert connection.ping(b"there?").wait(wire.SECONDS)
                elif message == "close":
                    connection.close(4002, "no more")
                    return
                else:
                    self.digests.append(wire.digest(message))
                connection.send(message)
            connection.recv()
        except ConnectionClosed as closed:
            self.closings.append((closed.rcvd.code, closed.rcvd.reason))


def chats(skt, host, **options):
    """@return: a client's connection, over a connected socket."""
    scheme = "wss" if "ssl" in options else "ws"
    return connect(
        f"{scheme}://{host}/chat", sock=skt, max_size=None, compression=None, **options
    )


def exchanges(client, server):
    """Row 000.3: every size of frame both ways, pings both ways."""
    for size in SIZES:
        data = os.urandom(size)
        client.send(data)
        assert client.recv(wire.SECONDS) == data
        assert server.digests.pop() == wire.digest(data)
    assert client.ping(b"there?").wait(wire.SECONDS)
    client.send("ping")
    assert client.recv(wire.SECONDS) == "ping"


def closes(client, server, until):
    """Row 000.3: the client's code and reason come to the server."""
    client.close(4001, "enough")
    until(lambda: server.closings)
    assert server.closings.pop() == (4001, "enough")


def isClosed(client):
    """Row 000.3: the server's code and reason come to the client."""
    client.send("close")
    try:
        client.recv(wire.SECONDS)
    except ConnectionClosed as closed:
        assert (closed.rcvd.code, closed.rcvd.reason) == (4002, "no more")
    else:
        raise AssertionError("the connection stands")
