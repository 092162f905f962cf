"""
A server for the tests of recipes that tells connections apart: who came, what was asked on
each, and what followed that was no HTTP.
"""

import socketserver
import threading

from loopback import wire

BLOB = b"\x00\xffHTTP/9.9 no response at all\r\n\r\n\x01"


class Came:
    """
    One connection with at least one request.

    @ivar peer: its address.
    @ivar heads: of requests, in lines.
    @ivar rest: what came after the last of them.
    """

    def __init__(self, peer):
        self.peer = peer
        self.heads = []
        self.rest = b""


class _Talk(socketserver.StreamRequestHandler):
    timeout = wire.SECONDS

    def handle(self):
        witness = self.server
        witness.peers.add(self.client_address[0])
        came = Came(self.client_address)
        while True:
            lines = []
            while (line := self.rfile.readline()).strip():
                lines.append(line.decode().strip())
            if not lines:
                return
            path = lines[0].split()[1]
            if path == witness.check:
                self._answer(b"ok")
                continue
            if not came.heads:
                witness.connections.append(came)
            came.heads.append(lines)
            if path.startswith(("/blob", "/upgrade")):
                self.wfile.write(
                    BLOB if path.startswith("/blob") else
                    b"HTTP/1.1 101 Switching Protocols\r\n"
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )  # fmt: skip
                return self._echo(came)
            self._answer(witness.name.encode())

    def _answer(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _echo(self, came):
        while data := self.rfile.read1(65536):
            came.rest += data
            self.wfile.write(data)


class Witness(socketserver.ThreadingTCPServer):
    """
    Answers with its name; what comes after a request for C{/blob} or C{/upgrade} it sends
    back, the one after L{BLOB}, the other after a 101.

    @ivar connections: a L{Came} for each; those of checks are not among them.
    @ivar peers: addresses of all who came, checks among them.
    @ivar names: what was asked for by SNI.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name, context=None, check="/health"):
        """
        @param context: TLS is spoken, by this one.
        @param check: the path of checks.
        """
        self.name = name
        self.check = check
        self.connections, self.peers, self.names = [], set(), set()
        self._context = context
        if context is not None:
            context.sni_callback = lambda _, name, __: self.names.add(name)
        super().__init__(("127.0.0.1", 0), _Talk)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request, client_address):
        if self._context is not None:
            request.settimeout(wire.SECONDS)
            request = self._context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        """A peer that goes away, or that refuses a certificate, is no fault of a test."""

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)

    def __str__(self):
        return f"127.0.0.1:{self.port}"
