"""
What a configuration needs of the kernel: sysctls, limits, capabilities, interfaces.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lbtwist.config.model import Bind, Config, PoolConfig, ServerConfig, Source
from lbtwist.doctor.facts import Facts, Item, either, look, missing, ok
from lbtwist.errors import Problem

CAPABILITIES = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
"""Their bits in C{CapEff} of C{/proc/self/status} (capabilities(7))."""

SPARE_FILES = 64
"""Descriptors for everything that is not a connection: logs, listeners, the reactor."""


def binds(config: Config) -> list[Bind]:
    return [bind for frontend in config.frontends.values() for bind in frontend.bind]


def members(config: Config) -> Iterator[tuple[PoolConfig, ServerConfig]]:
    for pool in config.pools.values():
        for server in pool.members:
            yield pool, server


def sources(pool: PoolConfig, server: ServerConfig) -> tuple[Source, ...]:
    """@return: where connections to a server come from."""
    return (server.source or pool.source) if server.kind == "tcp" else ()


def spoofs(config: Config) -> bool:
    """Whether connections to servers come from addresses of clients."""
    return any(
        source.kind != "address" for found in members(config) for source in sources(*found)
    )


def interfaces(config: Config) -> list[str]:
    """@return: the interfaces that are named."""
    names = [bind.interface for bind in binds(config)]
    names += [server.source_interface or pool.source_interface for pool, server in members(config)]
    return list(dict.fromkeys(filter(None, names)))


def absentInterfaces(config: Config, facts: Facts) -> list[Problem]:
    """
    The one thing of the machine that a check of the configuration looks at: whoever
    names an interface cannot start without it.

    @return: an error for each place that names one which is not there.
    """
    named = [
        (bind.where, f"[frontend {frontend.name}] bind: interface:", bind.interface)
        for frontend in config.frontends.values()
        for bind in frontend.bind
    ]
    for pool in config.pools.values():
        named.append((pool.where, f"[pool {pool.name}] source-interface:", pool.source_interface))
        named += [
            (one.where, f"[pool {pool.name}] server {one.name}: source-interface:",
             one.source_interface)
            for one in pool.members
        ]  # fmt: skip
    there = ", ".join(facts.interfaces()) or "none"
    return [
        Problem(
            where,
            f"{label} there is no interface {name!r}, this machine has {there};"
            " write check --elsewhere for another one",
        )
        for where, label, name in dict.fromkeys(named)
        if name and not facts.interface(name)
    ]


def checkPrivileges(config: Config, facts: Facts) -> Iterator[Item]:
    """Capabilities of who runs this."""
    status = facts.text("/proc/self/status") or ""
    held = next((line.split()[1] for line in status.split("\n") if line.startswith("CapEff:")), "")
    if not held:
        yield look("the capabilities of this process are not known (/proc/self/status)")
        return
    bits = int(held, 16)

    def has(name: str) -> bool:
        return bool(bits >> CAPABILITIES[name] & 1)

    def needs(names: tuple[str, ...], why: str) -> Item:
        words = " or ".join(names)
        granted = ",".join(name.lower() for name in names[:1])
        return either(
            any(map(has, names)), f"{words} is there, for {why}", f"{words} is not there: {why}",
            f"setcap {granted}+ep $(readlink -f {sys.executable})  # in a systemd unit:"
            f" AmbientCapabilities={names[0]}",
        )  # fmt: skip

    start = facts.number("net.ipv4.ip_unprivileged_port_start")
    low = sorted({bind.port for bind in binds(config) if bind.kind == "tcp" and bind.port})
    low = [port for port in low if port < (1024 if start is None else start)]
    if low:
        yield needs(("CAP_NET_BIND_SERVICE",), f"port {', '.join(map(str, low))}")
    if any(bind.transparent for bind in binds(config)):
        yield needs(("CAP_NET_ADMIN", "CAP_NET_RAW"), "binds that are transparent")
    if spoofs(config):
        yield needs(("CAP_NET_ADMIN", "CAP_NET_RAW"), "connections from addresses of clients")
    if interfaces(config) and _version(facts.release()) < (5, 7):
        yield needs(("CAP_NET_RAW",), f"interfaces before Linux 5.7 (this is {facts.release()})")


def _version(release: str) -> tuple[int, int]:
    parts = release.replace("-", ".").split(".")
    if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit():
        return int(parts[0]), int(parts[1])
    return 0, 0


def checkLimits(config: Config, facts: Facts) -> Iterator[Item]:
    """Descriptors, backlogs, ports and what [tcp] sections name."""
    most = config.settings.maxconn
    if not most and all(frontend.maxconn for frontend in config.frontends.values()):
        most = sum(frontend.maxconn for frontend in config.frontends.values())
    files = facts.files()
    if most:
        # One to the client and one to the server.
        needed = 2 * most + len(binds(config)) + SPARE_FILES
        yield either(
            files >= needed, f"{files} descriptors are enough for maxconn = {most}",
            f"{files} descriptors are not enough for maxconn = {most}: {needed} are needed",
            f"ulimit -n {needed}  # in a systemd unit: LimitNOFILE={needed}",
        )  # fmt: skip
    else:
        yield look(
            f"{files} descriptors, and no maxconn: when they are used up, clients wait",
            f"write maxconn = {max((files - SPARE_FILES) // 2, 1)} in [global]",
        )
    yield from _checkTracking(facts, most)
    yield from _checkBacklogs(config, facts)
    yield from _checkPorts(config, facts, most)
    yield from _checkProfiles(config, facts)


def _checkTracking(facts: Facts, most: int) -> Iterator[Item]:
    tracked = facts.number("net.netfilter.nf_conntrack_max")
    if not most or tracked is None:
        # Without a packet filter that knows connections there is no such limit.
        return
    yield either(
        tracked >= 2 * most, f"{tracked} connections are tracked, enough for maxconn = {most}",
        f"{tracked} connections are tracked, and maxconn = {most} makes {2 * most}: packets of"
        " those beyond are dropped",
        f"sysctl -w net.netfilter.nf_conntrack_max={4 * most}",
    )  # fmt: skip


def _checkBacklogs(config: Config, facts: Facts) -> Iterator[Item]:
    backlog = max((bind.backlog for bind in binds(config)), default=0)
    most = facts.number("net.core.somaxconn")
    if backlog and most is not None:
        yield either(
            most >= backlog, f"net.core.somaxconn = {most} allows a backlog of {backlog}",
            f"net.core.somaxconn = {most} cuts a backlog of {backlog}",
            f"sysctl -w net.core.somaxconn={backlog}",
        )  # fmt: skip
    begun = facts.number("net.ipv4.tcp_max_syn_backlog")
    cookies = facts.number("net.ipv4.tcp_syncookies")
    if backlog and begun is not None and begun < backlog and cookies == 0:
        yield missing(
            f"net.ipv4.tcp_max_syn_backlog = {begun} cuts a backlog of {backlog}, and there are"
            " no SYN cookies",
            "sysctl -w net.ipv4.tcp_syncookies=1",
        )


def _checkPorts(config: Config, facts: Facts, most: int) -> Iterator[Item]:
    said = (facts.sysctl("net.ipv4.ip_local_port_range") or "").split()
    if len(said) != 2 or not all(word.isdigit() for word in said):
        return
    first, last = map(int, said)
    usual = last - first + 1
    for pool, server in members(config):
        if server.kind != "tcp" or any(one.kind != "address" for one in sources(pool, server)):
            # Each client has ports of its own.
            continue
        given = [one.last - one.first + 1 if one.first else usual for one in sources(pool, server)]
        ports = sum(given) or usual
        wanted = server.maxconn or most
        name = f"{pool.name}/{server.name}"
        if wanted:
            yield either(
                ports >= wanted, f"{ports} source ports are enough for {wanted} to {name}",
                f"{ports} source ports are not enough for {wanted} connections to {name}",
                "sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
                "  # or more addresses: source = ADDRESS, ADDRESS",
            )  # fmt: skip


def _checkProfiles(config: Config, facts: Facts) -> Iterator[Item]:
    known = (facts.sysctl("net.ipv4.tcp_available_congestion_control") or "").split()
    for name, tcp in config.tcp.items():
        if tcp.congestion:
            yield either(
                tcp.congestion in known, f"[tcp {name}] {tcp.congestion} is there",
                f"[tcp {name}] congestion = {tcp.congestion}: there is {', '.join(known)}",
                f"modprobe tcp_{tcp.congestion}",
            )  # fmt: skip
        fast = facts.number("net.ipv4.tcp_fastopen")
        if tcp.fastopen and fast is not None:
            yield either(
                bool(fast & 2), f"[tcp {name}] net.ipv4.tcp_fastopen = {fast} lets servers use it",
                f"[tcp {name}] fastopen: net.ipv4.tcp_fastopen = {fast} has no 2 for servers",
                f"sysctl -w net.ipv4.tcp_fastopen={fast | 2}",
            )  # fmt: skip
        for word, size, limit in (
            ("send-buffer", tcp.send_buffer, "wmem_max"),
            ("receive-buffer", tcp.receive_buffer, "rmem_max"),
        ):
            allowed = facts.number(f"net.core.{limit}")
            if size and allowed is not None:
                yield either(
                    allowed >= size, f"[tcp {name}] {word} is within net.core.{limit}",
                    f"[tcp {name}] {word} = {size} is cut to net.core.{limit} = {allowed}",
                    f"sysctl -w net.core.{limit}={size}",
                )  # fmt: skip


def checkInterfaces(config: Config, facts: Facts) -> Iterator[Item]:
    """What C{interface} and C{source-interface} name, and whether answers find a way."""
    everywhere = facts.number("net.ipv4.conf.all.rp_filter") or 0
    for name in interfaces(config):
        state = facts.text(f"/sys/class/net/{name}/operstate")
        if state is None:
            there = ", ".join(facts.names("/sys/class/net")) or "none"
            yield missing(f"there is no interface {name}; there is {there}", "ip -brief link")
            continue
        yield either(
            state != "down", f"the interface {name} is there",
            f"the interface {name} is down", f"ip link set {name} up",
        )  # fmt: skip
        strict = max(everywhere, facts.number(f"net.ipv4.conf.{name}.rp_filter") or 0)
        yield either(
            strict != 1, f"rp_filter of {name} is {strict}: clients may come by it",
            f"rp_filter of {name} is 1: who is not routed by it is dropped",
            f"sysctl -w net.ipv4.conf.{name}.rp_filter=2",
        )  # fmt: skip
        if name != "lo" and state != "down":
            yield from _checkReturn(name, facts)


def _checkReturn(name: str, facts: Facts) -> Iterator[Item]:
    # An address for documentation (RFC 5737): nearer than the default route is nothing.
    route = facts.run("ip", "-4", "route", "get", "192.0.2.1", "oif", name)
    if route is None:
        yield look(f"the routes by {name} are not known", "apt-get install iproute2")
    elif " via " not in route:
        yield look(
            f"no default route leaves by {name}: only neighbours can be answered by it",
            f"ip route add default via GATEWAY dev {name} metric 200",
        )
    else:
        yield ok(f"a default route leaves by {name}")


def checkAddresses(config: Config, facts: Facts) -> Iterator[Item]:
    """Addresses that are bound to, and whether they are of this machine."""
    said = facts.run("ip", "-o", "addr", "show")
    if said is None:
        yield look("the addresses of this machine are not known", "apt-get install iproute2")
        return
    ours = {
        words[at + 1].partition("/")[0]
        for words in map(str.split, said.split("\n"))
        for at, word in enumerate(words[:-1])
        if word in ("inet", "inet6")
    }
    for bind in binds(config):
        if bind.kind != "tcp" or bind.transparent or bind.host in ("", "0.0.0.0", "::"):
            continue
        host = bind.host.partition("%")[0]
        version = "6" if ":" in host else "4"
        name = f"net.ipv{version}.ip_nonlocal_bind"
        if bind.freebind or host in ours or host.startswith("127."):
            yield ok(f"{bind} can be bound")
        elif facts.number(name) == 1:
            yield ok(f"{bind} can be bound: {name} = 1")
        else:
            yield missing(
                f"{bind}: no interface has that address",
                f"sysctl -w {name}=1  # or write freebind after it, or: ip address add"
                f" {host} dev {bind.interface or 'INTERFACE'}",
            )
    found = dict.fromkeys(one.address for pair in members(config) for one in sources(*pair))
    for address in filter(None, found):
        yield either(
            address in ours or address.startswith("127."), f"source {address} is ours",
            f"source {address}: no interface has that address",
            f"ip address add {address}/{128 if ':' in address else 32} dev INTERFACE",
        )  # fmt: skip
