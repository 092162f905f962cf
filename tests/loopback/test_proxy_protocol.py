"""
The PROXY protocol with real programs on each side: nginx behind us, HAProxy before and
behind us, curl; and a client that sends header and ClientHello in one segment.
"""

import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from authority import Authority
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.registry import installed
from lbtwist.sansio.proxyheader import encodeV1, encodeV2
from programs import find, freePort

NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr emerg;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t;
    uwsgi_temp_path t; scgi_temp_path t;
    server {
        listen 127.0.0.1:%(told)d proxy_protocol;
        return 200 "$proxy_protocol_addr $proxy_protocol_server_port $connection_requests";
    }
    server {
        listen 127.0.0.1:%(plain)d;
        return 200 "$http_x_forwarded_for $http_x_forwarded_proto";
    }
}
"""

HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend one
    bind 127.0.0.1:%(one)d
    default_backend one
backend one
    server us 127.0.0.1:%(accepting)d send-proxy
frontend two
    bind 127.0.0.1:%(two)d
    default_backend two
backend two
    server us 127.0.0.1:%(accepting)d send-proxy-v2 proxy-v2-options crc32c,unique-id
frontend behind
    mode http
    bind 127.0.0.1:%(behind)d accept-proxy
    http-request return status 200 content-type text/plain lf-string "%%[src] %%[dst_port]"
"""


def listens(port):
    """Wait for a program to listen."""
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nobody listens on {port}")


def ask(port, *arguments, source="127.0.0.5", url="http://127.0.0.1:{}/"):
    """@return: what curl got, in a thread."""
    command = ["curl", "-sS", "--max-time", "10", "--interface", source, *arguments]
    command += [url.format(port)]
    return deferToThread(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=20)
    )


class Case(TestCase):
    timeout = 60

    def directory(self):
        directory = Path(tempfile.mkdtemp(prefix="lbtwist"))
        self.addCleanup(shutil.rmtree, directory)
        return directory

    def runs(self, command, port):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

        def stop():
            process.send_signal(signal.SIGTERM)
            process.wait(10)

        self.addCleanup(stop)
        listens(port)

    def balances(self, text):
        text = "[global]\ngrace-period = 100ms\n" + textwrap.dedent(text)
        config, _ = loadText(text, installed())
        balancer = build(config, reactor=reactor)
        balancer.startService()
        self.addCleanup(balancer.stopService)
        return balancer

    def nginx(self):
        directory = self.directory()
        ports = {"told": freePort(), "plain": freePort()}
        (directory / "nginx.conf").write_text(NGINX % ports)
        self.runs([find("nginx"), "-p", directory, "-c", "nginx.conf"], ports["plain"])
        return ports

    def haproxy(self, accepting):
        path = self.directory() / "haproxy.cfg"
        ports = {"one": freePort(), "two": freePort(), "behind": freePort()}
        path.write_text(HAPROXY % {**ports, "accepting": accepting})
        self.runs([find("haproxy"), "-q", "-db", "-f", path], ports["behind"])
        return ports


@pytest.mark.needs("nginx", "curl")
class NginxTests(Case):
    @inlineCallbacks
    def toldBy(self, version):
        ports = self.nginx()
        www = freePort()
        self.balances(f"""
            [frontend www]
            bind = 127.0.0.1:{www}
            pool = app
            [pool app]
            server a = 127.0.0.1:{ports["told"]} send-proxy={version}
            """)
        url = f"http://127.0.0.1:{www}/"
        # Three requests of one client: one header, one connection.
        one = yield ask(www, "-w", "|", url, url)
        self.assertEqual(
            one.stdout, "|".join(f"127.0.0.5 {www} {n}" for n in (1, 2, 3)) + "|", one.stderr
        )
        # Another client: another connection.
        other = yield ask(www, source="127.0.0.6")
        self.assertEqual(other.stdout, f"127.0.0.6 {www} 1")

    def test_versionOne(self):
        return self.toldBy("v1")

    def test_versionTwo(self):
        return self.toldBy("v2 send-proxy-options=ssl,authority,unique-id,crc32c")

    @inlineCallbacks
    def test_curl(self):
        ports = self.nginx()
        www = freePort()
        balancer = self.balances(f"""
            [frontend www]
            bind = 127.0.0.1:{www} accept-proxy=yes accept-proxy-from=127.0.0.5
            pool = app
            [pool app]
            server a = 127.0.0.1:{ports["plain"]}
            """)
        good = yield ask(www, "--haproxy-protocol")
        self.assertEqual(good.stdout, "127.0.0.5 http", good.stderr)
        without = yield ask(www)
        self.assertEqual(without.stdout, "")
        self.assertIn(without.returncode, (52, 56))
        other = yield ask(www, "--haproxy-protocol", source="127.0.0.6")
        self.assertEqual(other.stdout, "")
        self.assertEqual(balancer.frontend("www").inbound.traffic.proxyRefused, 2)


@pytest.mark.needs("nginx", "haproxy", "curl")
class HAProxyTests(Case):
    @inlineCallbacks
    def test_before(self):
        """HAProxy sends the header, in version 1 and in version 2 with a checksum."""
        nginx = self.nginx()
        accepting = freePort()
        haproxy = self.haproxy(accepting)
        self.balances(f"""
            [frontend www]
            bind = 127.0.0.1:{accepting} accept-proxy=yes
            pool = app
            [pool app]
            server a = 127.0.0.1:{nginx["plain"]}
            """)
        for name in ("one", "two"):
            got = yield ask(haproxy[name])
            self.assertEqual(got.stdout, "127.0.0.5 http", got.stderr)

    @inlineCallbacks
    def test_behind(self):
        accepting = freePort()
        haproxy = self.haproxy(accepting)
        for version in ("v1", "v2", "v2 send-proxy-options=crc32c,ssl,cn,unique-id"):
            for mode in ("http", "tcp"):
                www = freePort()
                self.balances(f"""
                    [frontend www]
                    bind = 127.0.0.1:{www}
                    mode = {mode}
                    pool = app
                    [pool app]
                    check = http expect=200
                    server a = 127.0.0.1:{haproxy["behind"]} send-proxy={version}
                    """)
                got = yield ask(www)
                self.assertEqual(got.stdout, f"127.0.0.5 {www}", got.stderr)


class TLSTests(Case):
    @inlineCallbacks
    def test_headerAndHelloInOneSegment(self):
        """And in two, cut anywhere near the border."""
        pem = self.directory() / "site.pem"
        Authority().issue("www.example.com").write(pem)
        www = freePort()
        self.balances(f"""
            [frontend www]
            bind = 127.0.0.1:{www} accept-proxy=yes tls=site
            redirect-https = 301
            pool = app
            [tls site]
            certificate = {pem}
            [pool app]
            server a = demo:a
            """)
        header = encodeV2(("192.0.2.1", 1), ("192.0.2.2", 443), crc32c=True)
        for first in (header, encodeV1(("192.0.2.1", 1), ("192.0.2.2", 443))):
            for cut in (None, len(first) - 1, len(first), len(first) + 1, len(first) + 50):
                got = yield deferToThread(self.speak, www, first, cut)
                self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)

    @staticmethod
    def speak(port, header, cut):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="www.example.com")
        got = b""
        with socket.create_connection(("127.0.0.1", port), 10) as skt:
            skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            before = header
            for step in (
                tls.do_handshake,
                lambda: tls.write(
                    b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
                ),
                lambda: tls.read(65536),
            ):
                while True:
                    try:
                        result = step()
                        wants = False
                    except ssl.SSLWantReadError:
                        wants = True
                    data, before = before + outgoing.read(), b""
                    if data and cut is not None:
                        skt.sendall(data[:cut])
                        time.sleep(0.01)
                        data, cut = data[cut:], None
                    skt.sendall(data)
                    if not wants:
                        break
                    more = skt.recv(65536)
                    if not more:
                        return b"closed"
                    incoming.write(more)
                if isinstance(result, bytes):
                    got = result
        return got
