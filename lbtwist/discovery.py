"""
Where servers are: addresses that are written down, and names that are asked for
again and again.

A name is asked for before it is needed and never on the way of a request; the last
good answer stays. Names are looked for in the hosts file and then in the DNS, as they
are written: there is no search list. Which servers there are is the configuration's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any, Protocol

import attr
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.names import dns
from twisted.names.client import Resolver as DNSClient
from twisted.names.error import DNSNameError, DomainError
from twisted.names.hosts import searchFileForAll
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from zope.interface import implementer

from lbtwist.config.model import ServerConfig
from lbtwist.errors import BalancerError, StartError
from lbtwist.server import Endpoint, Server

TIMEOUTS = (1, 2, 4)
"""Seconds that all name servers in turn are given; then the question has failed."""

LIMIT = 30.0
"""Seconds for one question, whatever way it takes: over TCP, or round in circles."""

LEAST_TTL = 5.0
MOST_TTL = 3600.0
"""Seconds: an answer is good for no less and no more, whatever it says."""

HOSTS_TTL = 60.0
"""Seconds after which the hosts file is read again."""

LEAST_PAUSE = 5.0
MOST_PAUSE = 60.0
"""Seconds until a question that failed is asked again: doubled with every failure."""

QUESTIONS = 32
"""The most names that are asked for at once."""


class NotResolved(BalancerError):
    """A name has no address, or nobody said which."""


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
        @return: fails with L{NotResolved}; may be cancelled, and nothing of it is
            left then.
        """
        return Deferred.fromCoroutine(self._lookup(host.removesuffix(".").lower()))

    async def _lookup(self, host: str) -> Answer:
        found = tuple(filter(_usable, searchFileForAll(FilePath(self.hosts), host.encode())))
        if found:
            return Answer(found, HOSTS_TTL)
        if host == "localhost" or host.endswith(".localhost"):
            # Must not be asked of the DNS (RFC 6761 section 6.3).
            return Answer(("127.0.0.1",), HOSTS_TTL)
        async with self._slots:
            lease = _Lease(self._reactor)
            client = DNSClient(None, self._nameServers(), TIMEOUTS, lease)
            try:
                return await self._ask(client, lease, host)
            except DNSNameError:
                raise NotResolved("there is no such name") from None
            except DomainError as failed:
                raise NotResolved(f"a name server answered {type(failed).__name__}") from None
            except TimeoutError:
                raise NoNameServer("no name server answers") from None
            finally:
                lease.end(client)

    async def _ask(self, client: Any, lease: _Lease, host: str) -> Answer:
        for ask, kind in ((client.lookupAddress, dns.A), (client.lookupIPV6Address, dns.AAAA)):
            records, _, _ = await ask(host).addTimeout(LIMIT, lease)
            # Aliases come along, and are good no longer than what they stand for.
            found = tuple(
                record.payload.dottedQuad()
                if kind == dns.A
                else socket.inet_ntop(socket.AF_INET6, record.payload.address)
                for record in records
                if record.type == kind
            )
            if found:
                return Answer(found, min(record.ttl for record in records))
        raise NotResolved("the name has no address")

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


@attr.define(eq=False)
class _Name:
    """
    A name that is watched.

    @ivar servers: who is there, each with its port.
    @ivar addresses: the last good answer.
    @ivar failures: in a row.
    """

    host: str
    servers: dict[Server, int] = attr.field(factory=dict)
    addresses: tuple[str, ...] = ()
    failures: int = 0
    asking: Deferred[Answer] | None = None
    timer: Any = None


class Names:
    """
    The service that keeps the addresses of servers whose names are written down.

    An address that is still among the answers is kept, so that a name server which
    turns its answers round moves nobody.
    """

    _log = Logger()

    def __init__(self, reactor: Any, resolver: Looks, changed: Callable[[Server], None]) -> None:
        """
        @param changed: called with a server after its C{endpoint} changed; it should
            tell the server's pool and let go of the idle connections.
        """
        self._reactor = reactor
        self._resolver = resolver
        self._changed = changed
        self._names: dict[str, _Name] = {}
        self._running = False

    def watch(self, server: Server, host: str, port: int) -> None:
        """Keep the address of a server up to date from now on."""
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name(host)
            if self._running:
                self._schedule(name, 0.0)
        name.servers[server] = port
        if name.addresses:
            self._place(name, server)

    def forget(self, server: Server) -> None:
        """Its address does not matter any more."""
        for name in list(self._names.values()):
            if name.servers.pop(server, None) is not None and not name.servers:
                del self._names[name.host]
                self._rest(name)

    def start(self) -> None:
        """Ask for every name, now and then again and again."""
        self._running = True
        for name in self._names.values():
            self._ask(name)

    def stop(self) -> None:
        """Ask no more; no timer and no socket is left."""
        self._running = False
        for name in self._names.values():
            self._rest(name)

    def _rest(self, name: _Name) -> None:
        timer, name.timer = name.timer, None
        if timer is not None:
            timer.cancel()
        asking, name.asking = name.asking, None
        if asking is not None:
            asking.cancel()

    def _schedule(self, name: _Name, seconds: float) -> None:
        name.timer = self._reactor.callLater(seconds, self._ask, name)

    def _ask(self, name: _Name) -> None:
        name.timer = None
        name.asking = asking = self._resolver.lookup(name.host)
        asking.addCallbacks(
            self._answered, self._failed, callbackArgs=(name,), errbackArgs=(name,)
        )

    def _answered(self, answer: Answer, name: _Name) -> None:
        if name.asking is None:
            return
        name.asking = None
        self._schedule(name, max(LEAST_TTL, min(answer.ttl, MOST_TTL)))
        name.addresses = answer.addresses
        changes = [self._place(name, server) for server in list(name.servers)]
        if name.failures and not any(changes):
            self._log.info("{host} is resolved again", host=name.host)
        name.failures = 0

    def _failed(self, failure: Failure, name: _Name) -> None:
        if name.asking is None:
            # It was cancelled, and who did that does not want to hear of it.
            return
        name.asking = None
        if not name.failures:
            self._log.warn(
                "{host} cannot be resolved: {reason}; {kept}",
                host=name.host,
                reason=failure.getErrorMessage(),
                kept="its last address is kept" if name.addresses else "it has no address yet",
            )
        self._schedule(name, min(MOST_PAUSE, LEAST_PAUSE * 2 ** min(name.failures, 10)))
        name.failures += 1

    def _place(self, name: _Name, server: Server) -> bool:
        """@return: whether the server is somewhere else now."""
        before = server.endpoint
        found = [endpointOf(address, name.servers[server]) for address in name.addresses]
        if before in found:
            return False
        server.endpoint = found[0]
        self._log.info(
            "Server {pool}/{server} is at {endpoint} ({host}), was at {before}"
            if before
            else "Server {pool}/{server} is at {endpoint} ({host})",
            pool=server.pool, server=server.name, endpoint=found[0], host=name.host, before=before,
        )  # fmt: skip
        try:
            self._changed(server)
        except Exception:
            self._log.failure("a change of {server!r} met an error", server=server)
        return True
