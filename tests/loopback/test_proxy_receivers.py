"""
The PROXY protocol to servers that are no balancers: gunicorn, a WSGI server, and aiosmtpd,
a mail server that takes it as Postfix does.
"""

import smtplib
import socket
import sys
import textwrap
from functools import partial

from aiosmtpd.controller import Controller
from loopback.test_proxy_protocol import Case, ask
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread

from programs import freePort

APPLICATION = '''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REMOTE_ADDR"].encode()]
'''


class GunicornTests(Case):
    @inlineCallbacks
    def toldBy(self, version):
        directory = self.directory()
        (directory / "application.py").write_text(textwrap.dedent(APPLICATION))
        www, told = freePort(), freePort()
        command = [sys.executable, "-m", "gunicorn", "--chdir", directory, "--log-level", "error"]
        command += ["--bind", f"127.0.0.1:{told}", "--proxy-protocol", version]
        self.runs([*command, "application"], told)
        self.balances(f"""
            [frontend www]
            bind = 127.0.0.1:{www}
            pool = app
            [pool app]
            server a = 127.0.0.1:{told} send-proxy={version}
            """)
        for source in ("127.0.0.5", "127.0.0.6"):
            got = yield ask(www, source=source)
            self.assertEqual(got.stdout, source, got.stderr)

    def test_versionOne(self):
        return self.toldBy("v1")

    def test_versionTwo(self):
        return self.toldBy("v2")


class Mail:
    """What is asked of aiosmtpd: who its clients are."""

    def __init__(self):
        self.seen = []

    async def handle_PROXY(self, server, session, envelope, header):
        self.seen.append((header.version, str(header.src_addr), header.dst_port))
        return True


class MailTests(Case):
    @inlineCallbacks
    def test_bothVersions(self):
        mail = Mail()
        told = freePort()
        controller = Controller(
            mail, hostname="127.0.0.1", port=told, proxy_protocol_timeout=5,
            ready_timeout=20,
        )  # fmt: skip
        # It connects to see whether it runs, and would wait for a greeting, which comes
        # only after a header.
        controller._trigger_server = lambda: socket.create_connection(("127.0.0.1", told)).close()
        controller.start()
        self.addCleanup(controller.stop)
        ports = {version: freePort() for version in (1, 2)}
        for version, port in ports.items():
            self.balances(f"""
                [frontend mail]
                mode = tcp
                bind = 127.0.0.1:{port}
                pool = mail
                [pool mail]
                server a = 127.0.0.1:{told} send-proxy=v{version}
                """)
            said = yield deferToThread(partial(self.greets, port))
            self.assertEqual(said, 250)
        expected = [(version, "127.0.0.5", port) for version, port in ports.items()]
        self.assertEqual(mail.seen, expected)

    @staticmethod
    def greets(port):
        with smtplib.SMTP("127.0.0.1", port, timeout=10, source_address=("127.0.0.5", 0)) as smtp:
            return smtp.ehlo("client.test")[0]
