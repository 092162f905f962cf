"""
What TLS, the PROXY protocol and addresses ask of a configuration.

The values have been read already; here is what does not go together within one
value or one section, and what goes together and ought to be known. No file is
opened and no kernel asked: C{lbtwist doctor} and the start do that. How sections
refer to each other is L{lbtwist.config.load}'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attr

from lbtwist.config.fill import Scope
from lbtwist.config.ini import QUOTED, Word, normal
from lbtwist.config.model import (
    Bind,
    BindOptions,
    FrontendConfig,
    PoolConfig,
    ServerOptions,
    TCPConfig,
    TLSConfig,
)
from lbtwist.config.passive import observedOf
from lbtwist.errors import Position

HTTP_PERSISTENCE = {"cookie", "header", "parameter", "learn"}
"""Kinds of persistence that say nothing without requests."""

TCP_ONLY = {"rdp-cookie", "ssl-session-id"}
"""Balancers and kinds of persistence that say nothing but of sessions."""

FLOOR = {"modern": "TLSv1.3", "intermediate": "TLSv1.2", "old": "TLSv1.0"}
"""The lowest version of each policy (Mozilla's Server Side TLS, guidelines 5.7)."""

USUAL_FLOOR = FLOOR["intermediate"]
"""The lowest version that is spoken with servers if nothing is said."""

HTTP = (b"http/1.1", b"http/1.0")
"""The protocols of ALPN that C{mode = http} speaks."""

Bound = dict[tuple[str, str, int], dict[str, Position]]
"""Where each address is bound, by its kind, host or path and port, then by interface."""

_ANY_ADDRESS = {
    "": ("", "0.0.0.0", "::"),
    "0.0.0.0": ("0.0.0.0", ""),
    "::": ("::", ""),
}
_TLS_WORDS = (
    "sni", "verify", "ca", "alpn", "minimum", "maximum", "ciphers", "ciphersuites",
    "certificate", "key",
)  # fmt: skip
_BIND_WORDS = {
    "unix": ("interface", "transparent", "freebind", "tcp", "accept-proxy-from"),
    "fd": ("interface", "transparent", "freebind"),
    "systemd": ("interface", "transparent", "freebind"),
}
_SERVER_WORDS = ("source", "source-interface", "tcp")
_LOW = "{} needs OpenSSL's SECLEVEL 0, which is used for it: weak ciphers and signatures pass; "


def places(words: Sequence[Word]) -> dict[str, Position]:
    """@return: where each option stands among the words after an address."""
    found: dict[str, Position] = {}
    for word in words:
        pair = word.pair
        if pair is not None:
            found.setdefault(pair[0], word.where)
        elif QUOTED not in word.marks:
            found.setdefault(normal(word.text), word.where)
    return found


def checkedBind(
    kind: str, options: BindOptions, words: Sequence[Word], scope: Scope
) -> BindOptions:
    """
    @param kind: of the L{lbtwist.config.model.Bind}.
    @return: the options, and what they imply.
    """
    said = places(words)

    def wrong(word: str, message: str) -> None:
        scope.within(word).error(said[word], message)

    for word in ("mode", "user", "group"):
        if word in said and kind != "unix":
            scope.error(said[word], f"{word} is of a UNIX socket only")
    for word in _BIND_WORDS.get(kind, ()):
        if word in said:
            wrong(word, f"is of a TCP address only, not of {kind}:; remove it")
    if options.tls_passthrough and options.tls:
        wrong("tls-passthrough", f"TLS ends here, by tls={options.tls}; remove one of them")
    if options.alpn and options.tls_passthrough:
        wrong("alpn", "with tls-passthrough the server chooses; remove one of them")
    elif options.alpn and not options.tls:
        wrong("alpn", "says nothing without tls; add tls=NAME or remove it")
    if options.accept_proxy_from:
        if "accept-proxy" not in said:
            return attr.evolve(options, accept_proxy="yes")
        if options.accept_proxy == "no":
            wrong("accept-proxy", "no contradicts accept-proxy-from; remove one of them")
    elif options.accept_proxy == "optional":
        wrong(
            "accept-proxy",
            "with optional every client could claim any address; add accept-proxy-from=NETWORKS",
        )
    return options


def checkServer(kind: str, options: ServerOptions, words: Sequence[Word], scope: Scope) -> None:
    """@param kind: of the L{lbtwist.config.model.ServerConfig}."""
    said = places(words)

    def wrong(word: str, message: str) -> None:
        scope.within(word).error(said[word], message)

    if options.tls:
        _checkServerTLS(kind, options, said, scope)
    else:
        for word in _TLS_WORDS:
            if word in said:
                wrong(word, "says nothing without tls; add tls or remove it")
    if options.minconn and not options.maxconn:
        wrong("minconn", "needs maxconn, the limit while there is much to do; add it")
    elif options.minconn > options.maxconn:
        wrong("minconn", f"is above maxconn, {options.maxconn}")
    if kind != "tcp":
        for word in _SERVER_WORDS:
            if word in said:
                wrong(word, f"is of a TCP address only, not of {kind}:; remove it")
    if options.send_proxy_options and options.send_proxy != "v2":
        wrong("send-proxy-options", "only version 2 can carry them; write send-proxy=v2")
    if options.check_send_proxy == "yes" and options.send_proxy == "no":
        wrong("check-send-proxy", "says nothing without send-proxy; add send-proxy=v1 or v2")


def _checkServerTLS(
    kind: str, options: ServerOptions, said: Mapping[str, Position], scope: Scope
) -> None:
    if kind in ("demo", "object"):
        what = "a demo server" if kind == "demo" else "an object of this process"
        scope.within("tls").error(said["tls"], f"{what} speaks no TLS; remove it")
    if options.verify == "none":
        scope.within("verify").warn(
            said["verify"], "with none anybody on the way can be this server; give it a ca"
        )
        if options.ca:
            scope.within("ca").error(said["ca"], "says nothing with verify=none; remove it there")
    elif kind == "unix" and not options.sni:
        scope.within("tls").error(
            said["tls"], "a UNIX socket has no name to verify; add sni=NAME"
        )
    if options.key and not options.certificate:
        scope.within("key").error(said["key"], "says nothing without certificate; add it")
    lowest = options.minimum or USUAL_FLOOR
    if options.maximum and options.maximum < lowest:
        hint = "" if options.minimum else ", which is the usual one; write a minimum as well"
        scope.within("maximum").error(
            said["maximum"], f"{options.maximum} is below the minimum, {lowest}{hint}"
        )
    if options.minimum and options.minimum < USUAL_FLOOR:
        scope.within("minimum").warn(
            said["minimum"], _LOW.format(options.minimum) + "TLSv1.2 is safe"
        )


def checkTLS(
    config: TLSConfig, said: Mapping[str, Position], bad: Collection[str], scope: Scope
) -> None:
    """
    @param said: where the values are, by the names of fields.
    @param bad: fields whose values were not acceptable.
    """
    if not config.certificate and "certificate" not in bad:
        scope.error(config.where, "has no certificate: write certificate = PATH")
    if config.key and len(config.certificate) > 1:
        scope.within("key").error(
            said["key"], "is of one certificate; put each key into its certificate's file"
        )
    if config.keylog:
        scope.within("keylog").warn(
            said["keylog"], "whoever has this file can read every connection"
        )
    if not {"minimum", "maximum", "policy"} & set(bad):
        _checkVersions(
            config.minimum, config.maximum, config.policy, said, config.where, scope,
            bool(config.minimum),
        )  # fmt: skip
    _checkClientCertificates(config, said, bad, scope)
    first: dict[str, Position] = {}
    for name in config.names:
        within = scope.within(f"name {name.pattern}")
        if first.setdefault(name.pattern, name.where) is not name.where:
            within.error(name.where, f"is there twice, first at {first[name.pattern]}")
        if name.minimum or name.maximum or name.policy:
            policy = name.policy or config.policy
            # A policy of its own brings its floor.
            minimum = name.minimum or ("" if name.policy else config.minimum)
            maximum = name.maximum or config.maximum
            written = bool(name.minimum)
            _checkVersions(minimum, maximum, policy, {}, name.where, within, written)


def _checkVersions(
    minimum: str,
    maximum: str,
    policy: str,
    said: Mapping[str, Position],
    where: Position,
    scope: Scope,
    written: bool,
) -> None:
    """@param written: whether the minimum is written here, not elsewhere."""
    lowest = minimum or FLOOR[policy]
    if maximum and maximum < lowest:
        hint = "" if minimum else f", that of policy = {policy}; write a minimum as well"
        scope.within("maximum").error(
            said.get("maximum", where), f"{maximum} is below the minimum, {lowest}{hint}"
        )
    if written and minimum < USUAL_FLOOR and policy != "old":
        scope.within("minimum").warn(
            said.get("minimum", where), _LOW.format(minimum) + "write policy = old if you mean it"
        )


def _checkClientCertificates(
    config: TLSConfig, said: Mapping[str, Position], bad: Collection[str], scope: Scope
) -> None:
    verifying = [name for name in config.names if name.client_verify in ("optional", "required")]
    missing = "needs client-ca = PATH: the authorities of these certificates"
    if config.client_verify != "none" and not config.client_ca:
        scope.within("client-verify").error(said["client_verify"], missing)
    for name in verifying:
        if not config.client_ca:
            scope.within(f"name {name.pattern}").within("client-verify").error(name.where, missing)
    if config.client_verify == "none" and not verifying and "client_verify" not in bad:
        for field in ("client_ca", "client_crl"):
            if getattr(config, field):
                scope.within(normal(field)).warn(
                    said[field], "says nothing without client-verify = optional or required"
                )


def checkTCP(config: TCPConfig, said: Mapping[str, Position], scope: Scope) -> None:
    """@param said: where the values are, by the names of fields."""
    for field in ("keepalive_interval", "keepalive_count"):
        if getattr(config, field) and not config.keepalive:
            scope.within(normal(field)).warn(said[field], "says nothing without keepalive")


def checkedFrontend(config: FrontendConfig, scope: Scope) -> FrontendConfig:
    """@return: the frontend, with the protocols of ALPN that are its mode's."""
    if config.mode != "http":
        return config
    # The ports of a range are told of once.
    for bind in {bind.where: bind for bind in config.bind}.values():
        if bind.tls_passthrough:
            scope.error(
                bind.where, "tls-passthrough: a request cannot be read then; write mode = tcp"
            )
        _checkProtocols(bind.alpn, bind.where, scope)
    binds = (
        attr.evolve(bind, alpn=HTTP[:1]) if bind.tls and not bind.alpn else bind
        for bind in config.bind
    )
    return attr.evolve(config, bind=tuple(binds))


def checkConnect(
    config: FrontendConfig, said: Mapping[str, Position], own: Mapping[str, Position], scope: Scope
) -> None:
    """
    @param said: where the values are, by the names of fields.
    @param own: the same without those of C{[defaults]}.
    """
    if config.mode != "http":
        return
    if config.connect == "terminate":
        if not config.connect_allow:
            scope.within("connect").error(
                said["connect"],
                "terminate needs connect-allow = HOST:PORT ...: where CONNECT may lead to",
            )
    elif "connect_allow" in own:
        scope.within("connect-allow").error(
            own["connect_allow"],
            "says nothing without connect = terminate; write it or remove this",
        )


def bindOnce(bind: Bind, bound: Bound, scope: Scope) -> None:
    """@param bound: what is bound already; gets this one."""
    if bind.kind == "tcp" and bind.port == 0:
        return
    path = bind.path or bind.name
    for host in _ANY_ADDRESS.get(bind.host, (bind.host,)):
        earlier = bound.get((bind.kind, host + path, bind.port), {})
        for interface, first in earlier.items():
            # Linux accepts the same address once for each interface.
            if not interface or not bind.interface or interface == bind.interface:
                scope.error(bind.where, f"{bind} is bound twice, first at {first}")
                return
    here = bound.setdefault((bind.kind, bind.host + path, bind.port), {})
    here[bind.interface] = bind.where


def checkPair(frontend: FrontendConfig, pool: PoolConfig, where: Position, scope: Scope) -> None:
    """
    Check a pool against a frontend that uses it.

    @param where: where the frontend names the pool.
    """
    silent = TCP_ONLY if frontend.mode == "http" else HTTP_PERSISTENCE
    if pool.mode == "any" and pool.persist and all(one.name in silent for one in pool.persist):
        scope.warn(
            where,
            f"[pool {pool.name}] has persist = {pool.persist[0].name}, which says nothing in"
            f" mode = {frontend.mode}: nobody comes back to the server they had",
        )
    if frontend.mode == "http":
        for server in pool.members:
            _checkProtocols(
                server.alpn, where, scope.within(f"[pool {pool.name}] server {server.name}")
            )
        return
    for server in pool.members:
        observed = observedOf(pool, server)
        if observed is not None and observed.layer7 and pool.mode != "tcp":
            scope.error(
                where,
                f"[pool {pool.name}] server {server.name} has observe = layer7, and mode = tcp"
                " sees no responses; write layer4",
            )
            return
    for sources in (pool.source, *(server.source for server in pool.members)):
        if any(source.kind == "field" for source in sources):
            scope.error(
                where,
                f"[pool {pool.name}] has source = hdr_ip(...), and mode = tcp reads no fields;"
                " write clientip",
            )
            return


def _checkProtocols(protocols: Sequence[bytes], where: Position, scope: Scope) -> None:
    for protocol in protocols:
        if protocol not in HTTP:
            known = " and ".join(name.decode() for name in HTTP)
            scope.error(
                where, f"alpn: mode = http speaks {known}, not {protocol.decode()!r}; remove it"
            )
