"""
What transparent binds and sources need: kernel options, forwarding, the rules that
catch packets and the routes that deliver them (C{Documentation/networking/tproxy.rst}
of Linux).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lbtwist.config.model import Bind, Config
from lbtwist.doctor.facts import Facts, Item, either, look, missing, ok
from lbtwist.doctor.system import binds, members, sources, spoofs

MARK = 1
TABLE = 100
"""What the suggested commands use; those of anybody else are found as well."""

_RULE = re.compile(r"\bfwmark (0x[0-9a-f]+|[0-9]+)\S* lookup (\S+)")


def checkTransparent(config: Config, facts: Facts) -> Iterator[Item]:
    """@return: nothing if nothing is transparent."""
    caught = [bind for bind in binds(config) if bind.transparent]
    spoofed = spoofs(config)
    if not caught and not spoofed:
        return
    yield from _checkKernel(bool(caught), facts)
    if not caught:
        families = {"4"} | {"6" for _, server in members(config) if ":" in server.host}
    else:
        families = {"6" if ":" in bind.host else "4" for bind in caught}
    for family in sorted(families):
        name = "net.ipv4.ip_forward" if family == "4" else "net.ipv6.conf.all.forwarding"
        yield either(
            facts.number(name) == 1, f"{name} = 1",
            f"{name} is not 1: what is not for this machine is dropped", f"sysctl -w {name}=1",
        )  # fmt: skip
        nonlocal_ = facts.number(f"net.ipv{family}.ip_nonlocal_bind")
        if nonlocal_ is not None:
            yield ok(
                f"net.ipv{family}.ip_nonlocal_bind = {nonlocal_};"
                " sockets that are transparent do without it"
            )
    local = [bind for bind in caught if _isRouted(bind, facts)]
    for bind in local:
        yield ok(f"{bind}: a local route brings it here")
    left = [bind for bind in caught if bind not in local]
    if not left and not spoofed:
        return
    for family in sorted(families):
        yield from _checkRoutes(family, facts)
        yield from _checkRules(
            family, [b for b in left if (":" in b.host) == (family == "6")], facts
        )
    if any(one.kind == "field" for pair in members(config) for one in sources(*pair)):
        trusted = any(frontend.trusted_proxies for frontend in config.frontends.values())
        yield either(
            trusted, "hdr_ip: trusted-proxies says whose fields are believed",
            "hdr_ip: no frontend has trusted-proxies, so no field is believed",
            "write trusted-proxies = NETWORKS in the frontend",
        )  # fmt: skip


def _checkKernel(caught: bool, facts: Facts) -> Iterator[Item]:
    said = facts.read("/proc/config.gz") or facts.read(f"/boot/config-{facts.release()}")
    if said is None:
        yield look(
            "the options of this kernel are not known (/proc/config.gz,"
            f" /boot/config-{facts.release()})",
            "modprobe xt_TPROXY && modprobe xt_socket",
        )
        return
    text = said.decode("latin-1")
    options = {
        line.partition("=")[0]
        for line in text.split("\n")
        if line.startswith("CONFIG_") and line.endswith(("=y", "=m"))
    }
    wanted = [("CONFIG_IP_MULTIPLE_TABLES",), ("CONFIG_NETFILTER_XT_MATCH_SOCKET",
                                               "CONFIG_NFT_SOCKET")]  # fmt: skip
    if caught:
        wanted.append(("CONFIG_NETFILTER_XT_TARGET_TPROXY", "CONFIG_NFT_TPROXY"))
    for names in wanted:
        held = [name for name in names if name in options]
        yield either(
            bool(held), f"the kernel has {', '.join(held)}",
            f"the kernel has no {' or '.join(names)}",
            "apt-get install linux-image-amd64  # or another kernel that has it",
        )  # fmt: skip


def _isRouted(bind: Bind, facts: Facts) -> bool:
    if bind.host in ("", "0.0.0.0", "::"):
        return False
    route = facts.run("ip", "route", "get", bind.host.partition("%")[0])
    return route is not None and route.startswith("local ")


def _checkRoutes(family: str, facts: Facts) -> Iterator[Item]:
    flag = f"-{family}"
    shown = "ip -6" if family == "6" else "ip"
    everything = "::/0" if family == "6" else "0.0.0.0/0"
    rules = facts.run("ip", flag, "rule", "show")
    if rules is None:
        yield missing("the program ip is missing", "apt-get install iproute2")
        return
    marked = _RULE.findall(rules)
    if not marked:
        yield missing(
            f"IPv{family}: no rule sends marked packets to a table",
            f"{shown} rule add fwmark {MARK} lookup {TABLE}",
        )
    for mark, table in marked or [(str(MARK), str(TABLE))]:
        if marked:
            yield ok(f"IPv{family}: packets with mark {mark} are looked up in table {table}")
        routes = facts.run("ip", flag, "route", "show", "table", table) or ""
        yield either(
            re.search(r"^local (default|0\.0\.0\.0/0|::/0) dev lo\b", routes, re.M) is not None,
            f"IPv{family}: table {table} delivers to this machine",
            f"IPv{family}: table {table} has no local route",
            f"{shown} route add local {everything} dev lo table {table}",
        )  # fmt: skip


def _checkRules(family: str, left: list[Bind], facts: Facts) -> Iterator[Item]:
    program = "ip6tables" if family == "6" else "iptables"
    saved = facts.run(f"{program}-save", "-t", "mangle")
    nft = facts.run("nft", "list", "ruleset")
    if saved is None and nft is None:
        yield missing(
            "the rules are not known: neither iptables-save nor nft gives them (they take root)",
            "apt-get install iptables",
        )
        return
    rules = f"{saved or ''}\n{nft or ''}"
    diverted = re.search(r"-m socket\b|\bsocket transparent\b", rules) is not None
    yield either(
        diverted, f"IPv{family}: packets of connections of ours are caught (DIVERT)",
        f"IPv{family}: no rule catches packets of connections of ours (DIVERT)",
        f"{program} -t mangle -N DIVERT"
        f" && {program} -t mangle -A DIVERT -j MARK --set-mark {MARK}"
        f" && {program} -t mangle -A DIVERT -j ACCEPT"
        f" && {program} -t mangle -I PREROUTING -p tcp -m socket --transparent -j DIVERT",
    )  # fmt: skip
    for bind in left:
        caught = any(
            f"--on-port {bind.port} " in f"{line} "
            or re.search(rf"tproxy\b.*:{bind.port}\b", line) is not None
            for line in rules.split("\n")
        )
        there = "" if bind.host in ("", "0.0.0.0", "::") else f" -d {bind.host}"
        yield either(
            caught, f"{bind}: a rule catches what goes there (TPROXY)",
            f"{bind}: no rule catches what goes there (TPROXY)",
            f"{program} -t mangle -A PREROUTING -p tcp{there} --dport {bind.port} -j TPROXY"
            f" --tproxy-mark 0x{MARK:x}/0x{MARK:x} --on-port {bind.port}",
        )  # fmt: skip
