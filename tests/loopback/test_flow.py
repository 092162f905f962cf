"""
Back-pressure: what a slow reader does not take is not read from the writer, and memory
stays what it was, however long the stream.
"""

import time

import pytest
from loopback import wire
from loopback.running import Balancer, freePorts, until

SIZE = 1 << 30
PIECE = 1 << 20
ALLOWED = 64 << 20

PUT = b"PUT / HTTP/1.1\r\nHost: test\r\n"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % SIZE
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Stream:
    """
    Writes as fast as it is read.

    @ivar sent: how much was taken from it.
    """

    def __init__(self, connection, chunked):
        self._connection = connection
        # The last chunk of a body, where there are chunks.
        self._end = b"0\r\n\r\n" if chunked else b""
        self._piece = bytes(PIECE)
        if chunked:
            self._piece = b"%x\r\n%b\r\n" % (PIECE, self._piece)
        self.sent = 0

    def write(self):
        piece = memoryview(self._piece)
        for _ in range(SIZE // PIECE):
            at = 0
            while at < len(piece):
                size = self._connection.send(piece[at:])
                at += size
                self.sent += size
        self._connection.sendall(self._end)


def standsStill(stream):
    """
    Wait until nobody takes anything of a stream any more.

    @return: how much was taken.
    """
    seen, since = stream.sent, time.monotonic()

    def still():
        nonlocal seen, since
        if stream.sent != seen:
            seen, since = stream.sent, time.monotonic()
        return time.monotonic() - since > 0.3

    until(still)
    return seen


def read(connection, end, watch):
    """
    Read to the end of a stream.

    @param end: its last bytes, or its length.
    @param watch: called now and then.
    @return: how much it was.
    """
    buffer = memoryview(bytearray(PIECE))
    count = turns = 0
    tail = b""
    while not (isinstance(end, bytes) and tail.endswith(end)) and count != end:
        size = connection.recv_into(buffer)
        assert size, f"closed after {count}"
        count += size
        tail = (tail + bytes(buffer[max(size - 8, 0) : size]))[-8:]
        turns += 1
        if turns % 64 == 0:
            watch()
    return count


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("framing", ["length", "chunked", "tcp"])
def test_aSlowReaderOfAGibibyte(tmp_path, direction, framing):
    ports = freePorts(2)
    with wire.listening() as server:
        text = f"""\
            [frontend www]
            bind = 127.0.0.1:{ports[0]}
            pool = app
            [frontend raw]
            mode = tcp
            bind = 127.0.0.1:{ports[1]}
            pool = app
            [pool app]
            server app = 127.0.0.1:{wire.port(server)}
            """
        with Balancer(tmp_path, text) as balancer:
            streams(balancer, ports[framing == "tcp"], server, direction, framing)


def streams(balancer, port, server, direction, framing):
    body = {"length": LENGTH, "chunked": CHUNKED, "tcp": b""}[framing]
    with wire.connect(port) as client:
        if framing != "tcp":
            client.sendall(PUT + body if direction == "upload" else GET)
        connection = wire.accept(server)
        idle, pipes = balancer.pss, balancer.pipes
        if framing != "tcp":
            wire.readHead(connection)
        if framing != "tcp" and direction == "download":
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + body)
            wire.readHead(client)
        writer, reader = (client, connection) if direction == "upload" else (connection, client)
        stream = Stream(writer, framing == "chunked")
        most = idle

        def watch():
            nonlocal most
            most = max(most, balancer.pss)

        with connection:
            with wire.Doing(stream.write):
                # Slow at first: a little, and a rest.
                first = 0
                for size in (1, PIECE):
                    stopped = standsStill(stream)
                    watch()
                    assert stopped < ALLOWED, "read without being taken"
                    first += len(wire.readExactly(reader, size))
                assert (balancer.pipes > pipes) == (framing != "chunked"), "inside the kernel"
                end = b"\r\n0\r\n\r\n" if framing == "chunked" else SIZE - first
                count = first + read(reader, end, watch)
            assert (count > SIZE) if framing == "chunked" else (count == SIZE)
            assert most - idle < ALLOWED
            if framing != "tcp" and direction == "upload":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                assert wire.readHead(client).startswith(b"HTTP/1.1 200 OK")
