"""
Client certificates from the handshake to the server, which answers with what it read.
"""

import shutil
import socket
import ssl
import tempfile
import textwrap
from pathlib import Path

from authority import Authority, pem
from twisted.internet import protocol, reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.registry import installed
from programs import freePort

FORGED = (
    "X-SSL: 1\r\nx-ssl-client-verify: 0\r\nX_SSL_Client_CN: root\r\nClient-Cert: :AA==:\r\n"
    "X-Forwarded-Client-Cert: Hash=00\r\n"
)


class Mirror(protocol.Protocol):
    """A server that answers with the head it was sent."""

    data = b""

    def dataReceived(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, self.data = self.data.partition(b"\r\n\r\n")
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head)
            )


def ask(port, context=None, more="", times=1):
    """@return: the fields the server read, of each request on one connection."""
    found = []
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        skt = context.wrap_socket(plain, server_hostname="site.test") if context else plain
        with skt:
            for _ in range(times):
                skt.sendall(f"GET / HTTP/1.1\r\nHost: site.test\r\n{more}\r\n".encode())
                with skt.makefile("rb") as answer:
                    size = 0
                    while (line := answer.readline().strip()):
                        name, _, value = line.partition(b": ")
                        if name == b"Content-Length":
                            size = int(value)
                    lines = answer.read(size).decode().split("\r\n")[1:]
                found.append([tuple(one.split(": ", 1)) for one in lines])
    return found


class ClientCertificateTests(TestCase):
    timeout = 60

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="lbtwist"))
        self.addCleanup(shutil.rmtree, self.directory)
        factory = protocol.Factory.forProtocol(Mirror)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.root = Authority("Root")
        self.under = Authority("Under", self.root)
        self.client = self.under.issue("client.test", common="client1")
        self.client.write(self.directory / "client.pem")
        site = self.root.issue("site.test").write(self.directory / "site.pem")
        (self.directory / "ca.pem").write_bytes(pem(self.root.certificate))
        self.plain, self.secured, self.trusting, self.silent = (freePort() for _ in range(4))
        text = f"""
            [global]
            grace-period = 100ms
            [frontend www]
            bind = 127.0.0.1:{self.plain}, 127.0.0.1:{self.secured} tls=site
            client-cert-headers = x-ssl, rfc9440, xfcc
            pool = app
            [frontend trusting]
            bind = 127.0.0.1:{self.trusting}
            trusted-proxies = 127.0.0.1
            pool = app
            [frontend silent]
            bind = 127.0.0.1:{self.silent}
            pool = app
            [tls site]
            certificate = {site}
            client-verify = optional
            client-ca = {self.directory / "ca.pem"}
            [pool app]
            server a = 127.0.0.1:{port.getHost().port}
            """
        config, _ = loadText(textwrap.dedent(text), installed())
        balancer = build(config, reactor=reactor)
        balancer.startService()
        self.addCleanup(balancer.stopService)

    def context(self, certificate=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.directory / "ca.pem")
        if certificate:
            context.load_cert_chain(self.directory / "client.pem")
        return context

    @staticmethod
    def told(fields):
        """Those of the fields that tell of certificates, under any spelling."""
        starts = ("x-ssl", "client-cert", "x-forwarded-client-cert")
        return [
            (name, value) for name, value in fields
            if name.lower().replace("_", "-").startswith(starts)
        ]  # fmt: skip

    @inlineCallbacks
    def test_shown(self):
        answers = yield deferToThread(ask, self.secured, self.context(), FORGED, 3)
        self.assertEqual(len({str(self.told(one)) for one in answers}), 1)
        told = dict(self.told(answers[0]))
        self.assertEqual(len(told), len(self.told(answers[0])))
        self.assertEqual(told["X-SSL"], "1")
        self.assertEqual(told["X-SSL-Client-Verify"], "0")
        self.assertEqual(told["X-SSL-Client-DN"], '"/CN=client1"')
        self.assertEqual(told["X-SSL-Issuer"], '"/CN=Under"')
        # The one between, and not the root.
        self.assertEqual(told["Client-Cert-Chain"].count(":"), 2)
        self.assertTrue(told["X-Forwarded-Client-Cert"].endswith(
            ';Subject="CN=client1";DNS=client.test'
        ))  # fmt: skip

    @inlineCallbacks
    def test_notShown(self):
        answers = yield deferToThread(ask, self.secured, self.context(False), FORGED, 2)
        for one in answers:
            self.assertEqual(self.told(one), [("X-SSL", "1")])

    @inlineCallbacks
    def test_plain(self):
        answers = yield deferToThread(ask, self.plain, None, FORGED, 2)
        for one in answers:
            self.assertEqual(self.told(one), [("X-SSL", "0")])

    @inlineCallbacks
    def test_removedWhereNothingIsAdded(self):
        answers = yield deferToThread(ask, self.silent, None, FORGED)
        self.assertEqual(self.told(answers[0]), [])

    @inlineCallbacks
    def test_trusted(self):
        answers = yield deferToThread(ask, self.trusting, None, FORGED)
        self.assertEqual(len(self.told(answers[0])), 5)
