"""
Where servers are: addresses that are written down, and what the DNS says.

Addresses are looked for in the hosts file and then in the DNS, names as they are written:
there is no search list. When they are asked for is L{lbtwist.names}'s and
L{lbtwist.membership}'s: before they are needed, and never on the way of a request.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any, Protocol, TypeVar

import attr
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReadDescriptor
from twisted.names import dns
from twisted.names.client import Resolver as DNSClient
from twisted.names.error import DNSNameError, DomainError
from twisted.names.hosts import searchFileForAll
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from zope.interface import implementer

from lbtwist.config.model import ServerConfig
from lbtwist.errors import BalancerError, Nobody, StartError
from lbtwist.server import Endpoint

T = TypeVar("T")

TIMEOUTS = (1, 2, 4)
"""Seconds that all name servers in turn are given; then the question has failed."""

LIMIT = 30.0
"""Seconds for one question, whatever way it takes: over TCP, or round in circles."""

LEAST_TTL = 5.0
MOST_TTL = 3600.0
"""Seconds: an answer is good for no less and no more, whatever it says."""

HOSTS_TTL = 60.0
"""Seconds after which the hosts file is read again."""

QUESTIONS = 32
"""The most names that are asked for at once."""


class NotResolved(BalancerError):
    """A name has no address, or nobody said which."""


class NoSuchName(NotResolved, Nobody):
    """The DNS is certain that a name has no address, or that there is no such name."""


class NoNameServer(NotResolved):
    """Nobody answers who could know a name."""


@attr.frozen
class Answer:
    """
    The addresses of a name.

    @ivar addresses: numeric, IPv4 or IPv6, not empty.
    @ivar ttl: how long they are good, in seconds.
    """

    addresses: tuple[str, ...]
    ttl: float


@attr.frozen
class Service:
    """
    One SRV record (RFC 2782).

    @ivar host: the target, in lower case; whatever the DNS holds for a name.
    @ivar port: from 0 to 65535, as C{priority} and C{weight} are.
    """

    host: str
    port: int
    priority: int
    weight: int


@attr.frozen
class ServiceAnswer:
    """
    @ivar records: not empty.
    @ivar ttl: see L{Answer}.
    """

    records: tuple[Service, ...]
    ttl: float


def endpointOf(address: str, port: int) -> Endpoint:
    """
    @param address: numeric; a link-local one may name its interface.
    @raise ValueError: if it is not an address.
    @raise OSError: if there is no such interface.
    """
    found = ip_address(address)
    if isinstance(found, IPv4Address):
        return Endpoint(socket.AF_INET, (str(found), port))
    zone = found.scope_id
    if zone is None:
        return Endpoint(socket.AF_INET6, (str(found), port))
    index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    if index >= 1 << 32:
        raise ValueError(f"{zone} is no number of an interface")
    return Endpoint(socket.AF_INET6, (str(found).partition("%")[0], port, 0, index))


def _usable(address: str) -> bool:
    try:
        endpointOf(address, 0)
    except (ValueError, OSError):
        return False
    return True


def resolve(config: ServerConfig) -> Endpoint | None:
    """
    Where a server is, as far as that is written down.

    @return: L{None} where it is not: a name, which L{Names} finds, or a server that
        has to be started first.
    @raise StartError: if the address is of an interface that does not exist.
    """
    if config.kind == "unix":
        return Endpoint(socket.AF_UNIX, config.path)
    if config.kind != "tcp":
        return None
    try:
        return endpointOf(config.host, config.port)
    except ValueError:
        return None
    except OSError as failed:
        raise StartError(f"server {config.name}: {config.host}: {failed.strerror}") from None


@implementer(IReadDescriptor)
class _Datagrams:
    """
    A UDP socket for one question. Unlike Twisted's it writes nothing to the log and
    is closed at once.
    """

    def __init__(self, protocol: Any, interface: str, reactor: Any) -> None:
        self._protocol = protocol
        self._reactor = reactor
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        self._socket: socket.socket | None = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # Port 0: the kernel's choice cannot be foreseen, as RFC 5452 section 9.2 wants it.
        self._socket.bind((interface, 0))
        self.fileno = self._socket.fileno
        protocol.noisy = False
        protocol.makeConnection(self)
        reactor.addReader(self)

    def logPrefix(self) -> str:
        return "DNS"

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(data, address)
        except OSError:
            # As if it were lost on its way: the next name server is asked.
            return

    def doRead(self) -> None:
        assert self._socket is not None
        try:
            data, address = self._socket.recvfrom(4096)
        except OSError:
            return
        self._protocol.datagramReceived(data, address[:2])

    def stopListening(self) -> None:
        skt, self._socket = self._socket, None
        if skt is not None:
            self._reactor.removeReader(self)
            skt.close()
            self._protocol.doStop()

    def connectionLost(self, _reason: Failure) -> None:
        self.stopListening()


class _Lease:
    """
    What of a reactor one lookup uses; L{end} gives it back. A question of
    L{twisted.names} that is cancelled closes its datagram socket, but leaves timers
    and connections behind.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[Any] = []
        self._connectors: list[Any] = []

    def callLater(self, *args: Any) -> Any:
        call = self._reactor.callLater(*args)
        self._calls.append(call)
        return call

    def listenUDP(
        self, _port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> _Datagrams:
        return _Datagrams(protocol, interface, self._reactor)

    def connectTCP(self, *args: Any) -> Any:
        connector = self._reactor.connectTCP(*args)
        self._connectors.append(connector)
        return connector

    def end(self, client: Any) -> None:
        for connection in client.connections:
            # These ask another reactor for their timers, the one of the process.
            self._calls += [timer for _, timer in connection.liveMessages.values()]
        for call in self._calls:
            if call.active():
                call.cancel()
        for connector in self._connectors:
            connector.disconnect()


_Ask = Callable[[Any, _Lease, str], Coroutine[Deferred[Any], Any, T]]


class Resolver:
    """
    Looks for names in the hosts file and in the DNS.

    @ivar hosts: the path of the hosts file, which is read for every lookup.
    """

    def __init__(
        self,
        reactor: Any,
        hosts: str = "/etc/hosts",
        servers: Sequence[tuple[str, int]] = (),
        resolvconf: str = "/etc/resolv.conf",
    ) -> None:
        """
        @param servers: addresses and ports of name servers; without any, those that
            C{resolvconf} names.
        """
        self.hosts = hosts
        self._reactor = reactor
        self._servers = tuple(servers)
        self._resolvconf = resolvconf
        self._slots = DeferredSemaphore(QUESTIONS)

    def lookup(self, host: str) -> Deferred[Answer]:
        """
        @param host: a name.
        @return: its addresses, those of IPv6 only where it has none of IPv4. Fails with
            L{NotResolved}; may be cancelled, and nothing of it is left then.
        """
        return Deferred.fromCoroutine(self._lookup(host, self._first))

    def lookupAll(self, host: str) -> Deferred[Answer]:
        """
        @return: as of L{lookup}, with the addresses of both families. Where the answer for
            one of them does not come there is none at all: half of it would look whole.
        """
        return Deferred.fromCoroutine(self._lookup(host, self._all))

    def lookupService(self, name: str) -> Deferred[ServiceAnswer]:
        """
        @param name: as C{_http._tcp.example.com}.
        @return: fails and may be cancelled as that of L{lookup}.
        """
        return Deferred.fromCoroutine(self._asking(self._services, name.removesuffix(".")))

    async def _lookup(self, host: str, ask: _Ask[Answer]) -> Answer:
        host = host.removesuffix(".").lower()
        found = tuple(filter(_usable, searchFileForAll(FilePath(self.hosts), host.encode())))
        if found:
            return Answer(found, HOSTS_TTL)
        if host == "localhost" or host.endswith(".localhost"):
            # Must not be asked of the DNS (RFC 6761 section 6.3).
            return Answer(("127.0.0.1",), HOSTS_TTL)
        return await self._asking(ask, host)

    async def _asking(self, ask: _Ask[T], name: str) -> T:
        async with self._slots:
            lease = _Lease(self._reactor)
            client = DNSClient(None, self._nameServers(), TIMEOUTS, lease)
            try:
                return await ask(client, lease, name)
            except DNSNameError:
                raise NoSuchName("there is no such name") from None
            except DomainError as failed:
                raise NotResolved(f"a name server answered {type(failed).__name__}") from None
            except TimeoutError:
                raise NoNameServer("no name server answers") from None
            finally:
                lease.end(client)

    async def _first(self, client: Any, lease: _Lease, host: str) -> Answer:
        for kind in (dns.A, dns.AAAA):
            found, ttl = await self._addresses(client, lease, host, kind)
            if found:
                return Answer(found, ttl)
        raise NoSuchName("the name has no address")

    async def _all(self, client: Any, lease: _Lease, host: str) -> Answer:
        found4, ttl4 = await self._addresses(client, lease, host, dns.A)
        found6, ttl6 = await self._addresses(client, lease, host, dns.AAAA)
        if not found4 and not found6:
            raise NoSuchName("the name has no address")
        return Answer(found4 + found6, min(ttl4, ttl6))

    async def _addresses(
        self, client: Any, lease: _Lease, host: str, kind: int
    ) -> tuple[tuple[str, ...], float]:
        """@return: the addresses of one family, and how long they are good."""
        ask = client.lookupAddress if kind == dns.A else client.lookupIPV6Address
        records, _, _ = await ask(host).addTimeout(LIMIT, lease)
        # Aliases come along, and are good no longer than what they stand for.
        found = tuple(
            record.payload.dottedQuad()
            if kind == dns.A
            else socket.inet_ntop(socket.AF_INET6, record.payload.address)
            for record in records
            if record.type == kind
        )
        return found, min((record.ttl for record in records), default=MOST_TTL)

    async def _services(self, client: Any, lease: _Lease, name: str) -> ServiceAnswer:
        records, _, _ = await client.lookupService(name).addTimeout(LIMIT, lease)
        found = tuple(
            Service(
                one.payload.target.name.decode("ascii", "replace").removesuffix(".").lower(),
                one.payload.port, one.payload.priority, one.payload.weight,
            )
            for one in records
            if one.type == dns.SRV
        )  # fmt: skip
        # A target that is the root is said of a service that is not there (RFC 2782).
        found = tuple(one for one in found if one.host)
        if not found:
            raise NoSuchName("the name has no service")
        return ServiceAnswer(found, min(record.ttl for record in records))

    def _nameServers(self) -> list[tuple[str, int]]:
        if self._servers:
            return list(self._servers)
        found = []
        try:
            with open(self._resolvconf, encoding="ascii", errors="replace") as lines:
                for line in lines:
                    words = line.split()
                    if len(words) > 1 and words[0] == "nameserver" and _usable(words[1]):
                        # Written as the kernel writes it: answers are known by it.
                        found.append((str(ip_address(words[1])), dns.PORT))
        except OSError:
            # As where it names nobody, resolv.conf(5).
            found = []
        return found or [("127.0.0.1", dns.PORT)]


class Looks(Protocol):
    """Finds the addresses of a name, as L{Resolver} does."""

    def lookup(self, host: str) -> Deferred[Answer]:
        """@return: fails with the reason if there is no answer."""


class LooksFurther(Looks, Protocol):
    """Finds all that the DNS says of servers, as L{Resolver} does."""

    def lookupAll(self, host: str) -> Deferred[Answer]:
        """@return: addresses of both families."""

    def lookupService(self, name: str) -> Deferred[ServiceAnswer]:
        """@return: what SRV records say."""
