"""
Clients and servers made of plain sockets, for conversations that no program would have.
"""

import hashlib
import re
import socket
import struct
import threading
from contextlib import ExitStack, contextmanager

SECONDS = 15
"""How long anything on a socket may take."""


def connect(port, host="127.0.0.1"):
    """@return: a client's socket."""
    client = socket.create_connection((host, port), timeout=SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def answered(port):
    """@return: the socket of a client that has got an answer, and could ask for more."""
    client = connect(port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert readResponse(client)[0].startswith(b"HTTP/1.1 200")
    return client


@contextmanager
def unread(port, data, count):
    """So many clients who ask, and take nothing of what is answered."""
    with ExitStack() as clients:
        for _ in range(count):
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", port))
            client.sendall(data)
        yield


def download(port, server):
    """@return: a client and a server in the middle of a response, of C{/slow}."""
    client = connect(port)
    client.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
    connection = accept(server)
    readHead(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    readUntil(client, b"half")
    return client, connection


def connectUnix(path):
    """@return: the socket of a client on this machine."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(SECONDS)
    client.connect(str(path))
    return client


def command(path, text):
    """@return: what the balancer whose administrators come in here answers to a line."""
    with connectUnix(path) as client:
        # An upgrade takes its time.
        client.settimeout(90)
        client.sendall(f"{text}\n".encode())
        return readAll(client).decode()


def listening(address=("127.0.0.1", 0), family=socket.AF_INET):
    """@return: a server's socket."""
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen(128)
    server.settimeout(SECONDS)
    return server


def accept(server):
    """@return: the next connection to a server."""
    connection, _ = server.accept()
    connection.settimeout(SECONDS)
    return connection


def port(server):
    """@return: where a server listens."""
    return server.getsockname()[1]


def reset(connection):
    """Close so that the peer sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def readUntil(connection, end):
    """
    @return: what came up to and with C{end}; what comes after it in the same segment
        is an error, so the peer must not send any.
    """
    data = b""
    while not data.endswith(end):
        more = connection.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    return data


def readHead(connection):
    """@return: a head, and nothing after it."""
    return readUntil(connection, b"\r\n\r\n")


def readExactly(connection, size):
    """@return: so many bytes."""
    pieces = []
    while size:
        piece = connection.recv(min(size, 1 << 20))
        assert piece, f"closed, {size} bytes early"
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def readAll(connection):
    """@return: everything until the peer ends its side."""
    pieces = []
    while True:
        piece = connection.recv(1 << 20)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def readResponse(connection, buffer=b"", bodiless=False):
    """
    One response that has a length, or has no body.

    @param buffer: what was read before.
    @return: its head, its body and what was read after it.
    """
    while b"\r\n\r\n" not in buffer:
        more = connection.recv(65536)
        assert more, f"closed after {buffer!r}"
        buffer += more
    head, _, rest = buffer.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: (\d+)\r?$", head, re.M | re.I)
    size = 0 if bodiless or length is None else int(length[1])
    if len(rest) < size:
        rest += readExactly(connection, size - len(rest))
    return head, rest[:size], rest[size:]


def digest(data):
    """What two parties agree on."""
    return hashlib.sha256(data).hexdigest()


class Doing(threading.Thread):
    """
    Something that happens at the same time, between C{with} and its end; what goes
    wrong in it goes wrong in the test.

    @ivar result: what the function returned.
    """

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self._function = function
        self._arguments = arguments
        self._failed = None
        self.result = None

    def run(self):
        try:
            self.result = self._function(*self._arguments)
        except BaseException as failed:
            self._failed = failed

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, traceback):
        self.join(60 if kind is None else 0)
        if kind is None:
            assert not self.is_alive(), f"{self._function} has not come to its end"
            if self._failed is not None:
                raise self._failed
