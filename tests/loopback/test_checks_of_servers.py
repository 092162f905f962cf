"""Each check of a protocol against a real server of that protocol."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import attr
import grpc
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from authority import Authority, keyPEM, pem
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from loopback.running import freePorts
from loopback.serving import Dnsmasq, MariaDB, OpenLDAP, PostgreSQL, Redis
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from lbtwist.checks.dns import DNSCheck
from lbtwist.checks.grpc import GRPCCheck
from lbtwist.checks.ldap import LDAPCheck
from lbtwist.checks.mysql import MySQLCheck
from lbtwist.checks.postgresql import PostgreSQLCheck
from lbtwist.checks.redis import RedisCheck
from lbtwist.checks.smtp import SMTPCheck
from lbtwist.config.model import ServerConfig
from lbtwist.health import Result
from lbtwist.net.clienttls import ClientTLS
from lbtwist.net.handshake import Farewell
from lbtwist.registry import Context
from lbtwist.server import Endpoint, Server


class Checking(TestCase):
    """@cvar kind: the check."""

    kind = None

    @classmethod
    def setUpClass(cls):
        cls.stack = ExitStack()
        try:
            cls.serve()
        except BaseException:
            cls.stack.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    @classmethod
    def serve(cls):
        """Start what is asked."""

    @classmethod
    def start(cls, server):
        return cls.stack.enter_context(server)

    def check(self, port, **options):
        server = Server("app", "a", Endpoint(socket.AF_INET, ("127.0.0.1", port)))
        options = self.kind.Options(**options)
        return self.kind(options, Context(reactor=reactor)).check(server)

    @inlineCallbacks
    def fails(self, status, words, port, **options):
        result = yield self.check(port, **options)
        assert (result.passed, result.status) == (False, status), result
        assert words in result.detail


@pytest.mark.needs("redis-server")
class RedisTests(Checking):
    kind = RedisCheck

    @classmethod
    def serve(cls):
        cls.master = cls.start(Redis())
        cls.replica = cls.start(Redis(of=cls.master))
        cls.guarded = cls.start(Redis(password="secret"))

    @inlineCallbacks
    def test_ping(self):
        assert (yield self.check(self.master.port)) == Result(True, "L7OK", "PONG")

    @inlineCallbacks
    def test_role(self):
        for server, role, other in (
            (self.master, "primary", "replica"), (self.replica, "replica", "master")
        ):  # fmt: skip
            assert (yield self.check(server.port, role=role)).passed
            yield self.fails("L7STS", "its role is", server.port, role=other)
            assert (yield self.check(server.port, role="tell")).role == role
        assert (yield self.check(self.master.port, role="master")).passed

    @inlineCallbacks
    def test_password(self):
        assert (yield self.check(self.guarded.port, password="secret", role="master")).passed
        assert (yield self.check(self.guarded.port, user="default", password="secret")).passed
        yield self.fails("L7STS", "AUTH: WRONGPASS", self.guarded.port, password="wrong")
        yield self.fails("L7STS", "PING: NOAUTH", self.guarded.port)


@pytest.mark.needs("mariadbd", "mariadb-install-db")
class MySQLTests(Checking):
    kind = MySQLCheck

    @classmethod
    def serve(cls):
        cls.server = cls.start(MariaDB())
        cls.replica = cls.start(MariaDB("--read-only"))

    @inlineCallbacks
    def test_role(self):
        for server, role, other in (
            (self.server, "primary", "replica"), (self.replica, "replica", "primary")
        ):  # fmt: skip
            result = yield self.check(server.port, user="lbtwist", role="tell")
            assert (result.passed, result.role) == (True, role)
            assert (yield self.check(server.port, user="lbtwist", role=role)).passed
            yield self.fails("L7STS", "its role is", server.port, user="lbtwist", role=other)

    @inlineCallbacks
    def test_greeting(self):
        result = yield self.check(self.server.port)
        assert result.passed and "MariaDB" in result.detail

    @inlineCallbacks
    def test_login(self):
        assert (yield self.check(self.server.port, user="lbtwist")).passed
        for user in ("other", "nobody"):
            yield self.fails("L7STS", "1045 Access denied", self.server.port, user=user)

    @inlineCallbacks
    def test_aLoginIsNoBrokenConnection(self):
        """Or the server would refuse us after max_connect_errors of them."""
        for _ in range(110):
            assert (yield self.check(self.server.port, user="lbtwist")).passed


@pytest.mark.needs("initdb", "postgres", "pg_basebackup")
class PostgreSQLTests(Checking):
    kind = PostgreSQLCheck

    @classmethod
    def serve(cls):
        cls.primary = cls.start(PostgreSQL())
        cls.standby = cls.start(PostgreSQL(of=cls.primary))

    @inlineCallbacks
    def test_isThere(self):
        """Nobody of our name may log in, and that is an answer."""
        assert (yield self.check(self.primary.port)) == Result(True, "L7OK", "")

    @inlineCallbacks
    def test_trusted(self):
        result = yield self.check(self.primary.port, user="trusted")
        assert result == Result(True, "L7OK", "ready")

    @inlineCallbacks
    def test_refused(self):
        yield self.fails("L7STS", "28000 no pg_hba.conf entry", self.primary.port, user="nobody")
        yield self.fails(
            "L7STS", '3D000 database "none"', self.primary.port, user="trusted", database="none"
        )

    @inlineCallbacks
    def test_passwords(self):
        """In the clear, in MD5, and by SCRAM."""
        for user in ("plain", "old", "modern"):
            options = {"user": user, "password": "secret", "role": "primary"}
            result = yield self.check(self.primary.port, **options)
            assert result == Result(True, "L7OK", "primary", role="primary"), user
            options["password"] = "wrong"
            yield self.fails("L7STS", "28P01 password authentication", self.primary.port, **options)
            result = yield self.check(self.primary.port, user=user)
            assert result == Result(True, "L7OK", "asks for a password")
            yield self.fails(
                "L7STS", "asks for a password", self.primary.port, user=user, role="primary"
            )

    @inlineCallbacks
    def test_role(self):
        for server, role, other in (
            (self.primary, "primary", "standby"), (self.standby, "standby", "primary")
        ):  # fmt: skip
            result = yield self.check(server.port, user="trusted", role=role)
            assert result == Result(True, "L7OK", role, role=role)
            assert (yield self.check(server.port, user="trusted", role="tell")).role == role
            yield self.fails(
                "L7STS", f"its role is {role}", server.port, user="trusted", role=other
            )


@pytest.mark.needs("slapd")
class LDAPTests(Checking):
    kind = LDAPCheck

    @classmethod
    def serve(cls):
        cls.open = cls.start(OpenLDAP())
        cls.closed = cls.start(OpenLDAP("disallow bind_anon"))

    @inlineCallbacks
    def test_bind(self):
        assert (yield self.check(self.open.port)) == Result(True, "L7OK", "success")

    @inlineCallbacks
    def test_noAnonymousBind(self):
        yield self.fails("L7STS", "anonymous bind disallowed", self.closed.port)


@pytest.mark.needs("dnsmasq")
class DNSTests(Checking):
    kind = DNSCheck

    @classmethod
    def serve(cls):
        cls.server = cls.start(Dnsmasq())

    @inlineCallbacks
    def test_known(self):
        result = yield self.check(self.server.port, name="host.test")
        assert result == Result(True, "L7OK", "NOERROR")

    @inlineCallbacks
    def test_unknown(self):
        yield self.fails("L7STS", "NXDOMAIN", self.server.port, name="none.test")
        yield self.fails("L7STS", "REFUSED", self.server.port, name=".", type="SOA")
        result = yield self.check(self.server.port, name="none.test", expect=("NXDOMAIN",))
        assert result == Result(True, "L7OK", "NXDOMAIN")


class GRPCTests(Checking):
    """Against gRPC's own server and its health service; with TLS it insists on ALPN."""

    kind = GRPCCheck

    @classmethod
    def serve(cls):
        served = grpc.server(ThreadPoolExecutor(2))
        health = HealthServicer()
        add_HealthServicer_to_server(health, served)
        health.set("", HealthCheckResponse.SERVING)
        health.set("shop.Carts", HealthCheckResponse.NOT_SERVING)
        cls.authority = Authority()
        issued = cls.authority.issue("grpc.test")
        chain = pem(issued.certificate, *issued.chain)
        credentials = grpc.ssl_server_credentials([(keyPEM(issued.key), chain)])
        cls.port = served.add_insecure_port("127.0.0.1:0")
        cls.secure = served.add_secure_port("127.0.0.1:0", credentials)
        empty = cls.empty = grpc.server(ThreadPoolExecutor(1))
        cls.without = empty.add_insecure_port("127.0.0.1:0")
        for server in (served, empty):
            server.start()
            cls.stack.callback(lambda server=server: server.stop(None).wait())

    @inlineCallbacks
    def test_states(self):
        assert (yield self.check(self.port)) == Result(True, "L7OK", "SERVING")
        yield self.fails("L7STS", "NOT_SERVING", self.port, service="shop.Carts")
        yield self.fails("L7STS", "NOT_FOUND", self.port, service="shop.Other")

    @inlineCallbacks
    def test_aServerWithoutHealth(self):
        yield self.fails("L7STS", "UNIMPLEMENTED", self.without)

    @inlineCallbacks
    def farewells(self):
        """Wait for sockets that are open until the server has read why they end."""
        while Farewell.now:
            yield deferLater(reactor, 0.01)

    @inlineCallbacks
    def test_TLS(self):
        self.addCleanup(self.farewells)
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "ca.pem").write_bytes(pem(self.authority.certificate))
        options = ServerConfig(
            "a", "tcp", "grpc.test", self.secure, tls=True, ca=str(directory / "ca.pem")
        )
        server = Server("app", "a", Endpoint(socket.AF_INET, ("127.0.0.1", self.secure)))
        for host, result in (
            ("grpc.test", Result(True, "L7OK", "SERVING")),
            ("other.test", Result(
                False, "L6RSP", "wrong name: the certificate is for grpc.test, not for other.test"
            )),
        ):  # fmt: skip
            server.tls = ClientTLS(attr.evolve(options, host=host))
            check = GRPCCheck(GRPCCheck.Options(), Context(reactor=reactor))
            for _ in range(2):
                assert (yield check.check(server)) == result


class SMTPTests(Checking):
    kind = SMTPCheck

    @classmethod
    def serve(cls):
        [cls.port] = freePorts(1)
        controller = Controller(Sink(), hostname="127.0.0.1", port=cls.port, ident="mail.test")
        controller.start()
        cls.stack.callback(controller.stop)

    @inlineCallbacks
    def test_hello(self):
        result = yield self.check(self.port, hello="lb.example.org")
        assert result.passed and result.detail.startswith("220 ") and "mail.test" in result.detail
