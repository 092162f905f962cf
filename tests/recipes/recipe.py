"""
What the tests of recipes have in common: a recipe of C{etc} with addresses and paths of
this machine in place of its own, servers for it, and clients.
"""

import socket
import socketserver
import ssl
import threading

from authority import pem
from loopback import wire
from loopback.running import ROOT, Balancer


def started(name, directory, replaced):
    """
    @param name: of a file in C{etc}.
    @param replaced: text by text that stands in the recipe, as often as it is said.
    @return: the balancer with that recipe, its log in C{access.log}.
    """
    text = (ROOT / "etc" / name).read_text()
    for old, new in {"log = stdout": "log = file:access.log", **replaced}.items():
        assert old in text, f"{name} has no {old}"
        text = text.replace(old, str(new))
    return Balancer(directory, text)


class _Talk(socketserver.StreamRequestHandler):
    timeout = wire.SECONDS

    def handle(self):
        mirror = self.server
        preface = b""
        if mirror.expects:
            preface = self.rfile.read(mirror.expects(self.connection))
        mirror.prefaces.append(preface)
        while True:
            lines = []
            while (line := self.rfile.readline()).strip():
                lines.append(line.decode().strip())
            if not lines:
                return
            if lines[0].startswith("GET /health "):
                mirror.checks.append(lines)
                body = b"ok"
            else:
                mirror.heads.append(lines)
                body = mirror.name.encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Mirror(socketserver.ThreadingTCPServer):
    """
    A server that remembers what it was sent, and answers with its name.

    @ivar heads: of requests, in lines; C{checks} likewise of those for C{/health}.
    @ivar prefaces: what came before the first request of each connection.
    @ivar secured: version and cipher of each TLS connection that stood.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name, context=None, expects=None):
        """
        @param context: TLS is spoken, by this one.
        @param expects: takes a connection, says how many bytes come first.
        """
        self.name = name
        self.context = context
        self.expects = expects
        self.heads, self.checks, self.prefaces, self.secured = [], [], [], []
        super().__init__(("127.0.0.1", 0), _Talk)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request, client_address):
        if self.context is not None:
            request.settimeout(wire.SECONDS)
            request = self.context.wrap_socket(request, server_side=True)
            self.secured.append((request.version(), request.cipher()[0]))
        super().finish_request(request, client_address)

    def handle_error(self, request, client_address):
        """A peer that goes away, or that refuses a certificate, is no fault of a test."""

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)

    def __str__(self):
        return f"127.0.0.1:{self.port}"


def serving(issued, path):
    """@return: the TLS context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.write(path))
    return context


def trusting(authority):
    """@return: the TLS context of a client that believes this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(authority.certificate).decode())
    return context


def connects(port, context=None, name="", source="127.0.0.1"):
    """@return: the socket of a client, with TLS if there is a context."""
    plain = socket.create_connection(("127.0.0.1", port), wire.SECONDS, (source, 0))
    return context.wrap_socket(plain, server_hostname=name) if context else plain


def asks(client, *fields, line="GET / HTTP/1.1"):
    """@return: the head and the body of the answer, as text."""
    client.sendall("\r\n".join([line, *fields, "", ""]).encode())
    head, body, _ = wire.readResponse(client)
    return head.decode(), body.decode()
