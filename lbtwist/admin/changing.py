"""
The verbs that change something: C{set server}, C{set maxconn}, C{enable}, C{disable},
C{shutdown}, C{clear}, and C{get weight}, with HAProxy's words and answers (its management
guide, 9.3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from lbtwist.admin.audit import Seen
from lbtwist.admin.finding import frontendNamed, parsed, serverNamed
from lbtwist.admin.listing import entriesOf, idOf, keyOf, tableNamed
from lbtwist.admin.sessions import endAnywhere
from lbtwist.admin.verbs import DONE, Answer, Asked, Level, Refused, Severity, Verb
from lbtwist.config.model import Part
from lbtwist.discovery import endpointOf
from lbtwist.events import plain, stateOf
from lbtwist.health import Admin
from lbtwist.looking import frontendState
from lbtwist.options import Integer
from lbtwist.pool import Pool
from lbtwist.server import MOST_WEIGHT, Endpoint, Server

MOST_CONN = 10_000_000
"""The highest limit that can be set."""

_PORT = Integer(1, 65535)
_STATES = (Admin.READY, Admin.DRAIN, Admin.MAINT)


def _initial(server: Server) -> int:
    """@return: the weight that was written down, or that its source says."""
    return server.capacity.weight if server.options is None else int(server.options.weight)


def getWeight(asked: Asked, words: Sequence[str]) -> Answer:
    _, server = serverNamed(asked.balancer, words)
    weight, initial = server.capacity.weight, _initial(server)
    return Answer(f"{weight} (initial {initial})\n", {"weight": weight, "initial": initial})


# a server


def _setState(asked: Asked, pool: Pool, server: Server, words: Sequence[str]) -> Answer:
    if not words or words[0] not in _STATES:
        raise Refused("'set server <srv> state' expects 'ready', 'drain' and 'maint'.")
    asked.balancer.administration.setState(pool, server, words[0])
    return DONE


def _setWeight(asked: Asked, pool: Pool, server: Server, words: Sequence[str]) -> Answer:
    text = words[0] if words else ""
    if not text.removesuffix("%").isdecimal() or not text.isascii() or len(text) > 9:
        raise Refused("Empty weight string empty or preceded by garbage")
    if text.endswith("%"):
        percent = int(text[:-1])
        if percent > 100 * MOST_WEIGHT:
            raise Refused("Relative weight can only be between 0 and 25600% inclusive.")
        weight = min(_initial(server) * percent // 100, MOST_WEIGHT)
    else:
        weight = int(text)
    if weight > MOST_WEIGHT:
        raise Refused("Absolute weight can only be between 0 and 256 inclusive.")
    asked.balancer.administration.setWeight(pool, server, weight)
    return DONE


def _setMaxconn(asked: Asked, pool: Pool, server: Server, words: Sequence[str]) -> Answer:
    text = words[0] if words else ""
    if not text.isdecimal() or not text.isascii():
        raise Refused("maxconn string empty or preceded by garbage")
    maxconn = parsed(Integer(0, MOST_CONN), text)
    asked.balancer.administration.setMaxconn(pool, server, maxconn)
    return DONE


def _setAddress(asked: Asked, pool: Pool, server: Server, words: Sequence[str]) -> Answer:
    """C{addr <address> [port <port>]}."""
    options, before = server.options, server.endpoint
    if options is not None and options.kind != "tcp":
        raise Refused("Only an address of TCP can be changed.")
    if any(server in one.servers.values() for one in pool.memberships):
        raise Refused("Its address is what its source says.")
    if not words or len(words) not in (1, 3) or (len(words) == 3 and words[1] != "port"):
        raise Refused("set server <b>/<s> addr requires an address and optionally a port.")
    port = 0 if options is None else options.port
    if before is not None and not isinstance(before.address, str):
        port = before.address[1]
    if len(words) == 3:
        port = parsed(_PORT, words[2])
    try:
        found = endpointOf(words[0], port)
    except (ValueError, OSError):
        message = f"Invalid addr '{plain(words[0])}' by 'stats socket command'"
        raise Refused(message) from None
    text = _moved(before, found)
    if found != before:
        asked.balancer.administration.setEndpoint(pool, server, found)
    return Answer(f"{text} by 'stats socket command'\n", None, Severity.NOTICE)


def _moved(before: Endpoint | None, after: Endpoint) -> str:
    """@return: HAProxy's words for a change of an address."""
    if before is None:
        return f"IP changed from '(none)' to '{after.address[0]}', port set to {after.address[1]}"
    (host, port), (newHost, newPort) = before.address[:2], after.address[:2]
    first = f"IP changed from '{host}' to '{newHost}'"
    second = f"port changed from '{port}' to '{newPort}'"
    return ", ".join((
        first if host != newHost else "no need to change the addr",
        second if port != newPort else "no need to change the port",
    ))  # fmt: skip


def _setHealth(asked: Asked, pool: Pool, server: Server, words: Sequence[str]) -> Answer:
    if not words or words[0] not in ("up", "down"):
        raise Refused("'set server <srv> health' expects 'up' or 'down'.")
    return _decide(asked, pool, server, words[0])


def _setAgent(asked: Asked, pool: Pool, server: Server, words: Sequence[str]) -> Answer:
    check = pool.config.check
    probe = None if check is None else check.probe
    if not (isinstance(probe, Part) and probe.name == "agent"):
        raise Refused("agent checks are not enabled on this server.")
    if not words or words[0] not in ("up", "down"):
        raise Refused("'set server <srv> agent' expects 'up' or 'down'.")
    return _decide(asked, pool, server, words[0])


def _decide(asked: Asked, pool: Pool, server: Server, word: str) -> Answer:
    try:
        asked.balancer.administration.setUp(pool, server, word == "up")
    except ValueError:
        raise Refused("cannot change health on a tracking server.") from None
    return DONE


SETTINGS: dict[str, Callable[[Asked, Pool, Server, Sequence[str]], Answer]] = {
    "addr": _setAddress, "agent": _setAgent, "health": _setHealth, "maxconn": _setMaxconn,
    "state": _setState, "weight": _setWeight,
}  # fmt: skip
"""What C{set server} can set."""


def setServer(asked: Asked, words: Sequence[str]) -> Answer:
    """C{set server <pool>/<server> state|weight|addr|maxconn|health|agent ...}."""
    pool, server = serverNamed(asked.balancer, words)
    setting = SETTINGS.get(words[1]) if len(words) > 1 else None
    if setting is None:
        raise Refused(f"usage: set server <backend>/<server> {' | '.join(SETTINGS)}")
    return setting(asked, pool, server, words[2:])


def setWeight(asked: Asked, words: Sequence[str]) -> Answer:
    pool, server = serverNamed(asked.balancer, words)
    return _setWeight(asked, pool, server, words[1:])


def enableServer(asked: Asked, words: Sequence[str]) -> Answer:
    pool, server = serverNamed(asked.balancer, words)
    return _setState(asked, pool, server, [Admin.READY])


def disableServer(asked: Asked, words: Sequence[str]) -> Answer:
    pool, server = serverNamed(asked.balancer, words)
    return _setState(asked, pool, server, [Admin.MAINT])


def _setChecking(asked: Asked, words: Sequence[str], checking: bool) -> Answer:
    _, server = serverNamed(asked.balancer, words)
    if not asked.balancer.administration.setChecking(server, checking):
        what = "enable" if checking else "disable"
        raise Refused(f"Health check was not configured on this server, cannot {what}.")
    return DONE


def enableHealth(asked: Asked, words: Sequence[str]) -> Answer:
    return _setChecking(asked, words, True)


def disableHealth(asked: Asked, words: Sequence[str]) -> Answer:
    return _setChecking(asked, words, False)


# a frontend, the process


def disableFrontend(asked: Asked, words: Sequence[str]) -> Answer:
    frontend = frontendNamed(asked.balancer, words)
    if not frontend.inbound.listeners:
        raise Refused("Frontend was previously shut down, cannot disable.")
    if frontend.paused:
        raise Refused("All sockets are already disabled.", Severity.NOTICE)
    frontend.pause()
    return DONE


def enableFrontend(asked: Asked, words: Sequence[str]) -> Answer:
    frontend = frontendNamed(asked.balancer, words)
    if not frontend.inbound.listeners:
        raise Refused("Frontend was previously shut down, cannot enable.")
    if not frontend.paused:
        raise Refused("All sockets are already enabled.", Severity.NOTICE)
    try:
        frontend.resume()
    except OSError as failed:
        raise Refused(f"Failed to resume frontend: {failed.strerror}.") from None
    return DONE


def shutdownFrontend(asked: Asked, words: Sequence[str]) -> Answer:
    frontend = frontendNamed(asked.balancer, words)
    if not frontend.inbound.listeners:
        raise Refused("Frontend was already shut down.", Severity.NOTICE)
    frontend.close()
    return DONE


def _limit(words: Sequence[str]) -> int:
    if not words or not words[0].isdecimal() or not words[0].isascii():
        raise Refused("Integer value expected.")
    if len(words[0]) > 12 or int(words[0]) > MOST_CONN:
        raise Refused("Value out of range.")
    return int(words[0])


def setMaxconnFrontend(asked: Asked, words: Sequence[str]) -> Answer:
    frontend = frontendNamed(asked.balancer, words)
    frontend.inbound.maxconn = _limit(words[1:])
    asked.balancer.limitsChanged()
    return DONE


def setMaxconnServer(asked: Asked, words: Sequence[str]) -> Answer:
    pool, server = serverNamed(asked.balancer, words)
    return _setMaxconn(asked, pool, server, words[1:])


def setMaxconnGlobal(asked: Asked, words: Sequence[str]) -> Answer:
    asked.balancer.process.maxconn = _limit(words)
    asked.balancer.limitsChanged()
    return DONE


# what runs


async def shutdownSession(asked: Asked, words: Sequence[str]) -> Answer:
    if not words:
        raise Refused("Session pointer expected (use 'show sess').")
    if not await endAnywhere(asked.balancer, idOf(words[0])):
        raise Refused("No such session (use 'show sess').")
    return DONE


def shutdownServerSessions(asked: Asked, words: Sequence[str]) -> Answer:
    pool, server = serverNamed(asked.balancer, words)
    asked.balancer.abortSessionsOf(pool, server)
    return DONE


# what was counted


def clearCounters(asked: Asked, words: Sequence[str]) -> Answer:
    """C{clear counters [all]}: the most that there was at once, or everything."""
    everything = list(words[:1]) == ["all"]
    if everything and asked.caller.level < Level.ADMIN:
        raise Refused("Permission denied")
    balancer = asked.balancer
    balancer.looking.clear(everything)
    if everything:
        for frontend in balancer.frontends.values():
            frontend.inbound.traffic.clear()
        for pool in balancer.pools.values():
            pool.traffic.clear()
            for server in pool.servers:
                server.traffic.clear()
    return DONE


def clearTable(asked: Asked, words: Sequence[str]) -> Answer:
    """C{clear table <pool> [key <key>]}: have clients be bound to no server any more."""
    if not words:
        raise Refused("Required arguments: <table> [key <key>]")
    chain = tableNamed(asked.balancer, words[0])
    for key, name, _ in list(entriesOf(chain, keyOf(words[1:]))):
        chain.store.drop(key, name)
    return DONE


# what is written down of it


def seenServer(asked: Asked, words: Sequence[str]) -> Seen:
    """@return: what a verb can change of a server."""
    _, server = serverNamed(asked.balancer, words)
    return {
        "state": stateOf(server), "admin": server.health.admin, "up": server.health.up,
        "weight": server.capacity.weight, "maxconn": server.capacity.maxconn,
        "addr": str(server.endpoint or ""),
        "checking": asked.balancer.administration.isChecked(server),
        "sessions": len(server.sessions),
    }  # fmt: skip


def seenFrontend(asked: Asked, words: Sequence[str]) -> Seen:
    """@return: the same of a frontend."""
    frontend = frontendNamed(asked.balancer, words)
    return {"state": frontendState(frontend), "maxconn": frontend.inbound.maxconn}


def _seenProcess(asked: Asked, words: Sequence[str]) -> Seen:
    return {"maxconn": asked.balancer.process.maxconn}


def _verb(
    usage: str, meaning: str, run: Callable[[Asked, Sequence[str]], Answer | Awaitable[Answer]],
    look: Callable[[Asked, Sequence[str]], Seen] | None = None,
) -> Verb:  # fmt: skip
    return Verb(usage, meaning, Level.ADMIN, run, changes=True, look=look)


VERBS = (
    Verb("get weight <pool>/<server>", "a server's weight", Level.USER, getWeight),
    _verb(
        "set server <pool>/<server> state|weight|addr|maxconn|health|agent ...",
        "change a server", setServer, seenServer,
    ),
    _verb("set weight <pool>/<server> <weight>[%]", "the same as set server weight", setWeight,
          seenServer),
    _verb("enable server <pool>/<server>", "the same as set server state ready", enableServer,
          seenServer),
    _verb("disable server <pool>/<server>", "the same as set server state maint", disableServer,
          seenServer),
    _verb("enable health <pool>/<server>", "let its checks go on", enableHealth, seenServer),
    _verb("disable health <pool>/<server>", "stop its checks; it stays as it is", disableHealth,
          seenServer),
    _verb("enable frontend <frontend>", "accept connections again", enableFrontend,
          seenFrontend),
    _verb("disable frontend <frontend>", "accept no connections for a while", disableFrontend,
          seenFrontend),
    _verb("shutdown frontend <frontend>", "accept no connections any more", shutdownFrontend,
          seenFrontend),
    _verb("shutdown session <id>", "end a client's connection", shutdownSession),
    _verb(
        "shutdown sessions server <pool>/<server>", "end what runs with a server",
        shutdownServerSessions, seenServer,
    ),
    _verb(
        "set maxconn frontend <frontend> <number>", "connections of clients at once; 0 is no limit",
        setMaxconnFrontend, seenFrontend,
    ),
    _verb(
        "set maxconn server <pool>/<server> <number>", "exchanges at once; 0 is no limit",
        setMaxconnServer, seenServer,
    ),
    _verb(
        "set maxconn global <number>", "connections in the process at once; 0 is no limit",
        setMaxconnGlobal, _seenProcess,
    ),
    Verb(
        "clear counters [all]", "begin anew with maxima (or, for admin, with all counters)",
        Level.OPERATOR, clearCounters, changes=True,
    ),
    _verb("clear table <pool> [key <key>]", "forget clients of its persistence", clearTable),
)  # fmt: skip
