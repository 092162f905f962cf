"""
What a server is told in a PROXY header before anything else is sent to it.

Not here: the form of the header (L{lbtwist.sansio.proxyheader}), and when it is sent.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import attr
from cryptography.x509.oid import NameOID

from lbtwist.config.model import ServerConfig
from lbtwist.exchange import Connection, Exchange
from lbtwist.net.addresses import pair
from lbtwist.sansio.proxyheader import encodeV1, encodeV2
from lbtwist.sansio.proxytlvs import LONGEST_UNIQUE_ID, SSLInfo, makeTLVs

_OVER_TLS, _SHOWN_HERE, _SHOWN_IN_SESSION = 1, 2, 4
_NOT_VERIFIED = 1


def greetingOf(
    config: ServerConfig, newId: Callable[[], str]
) -> Callable[[Exchange], bytes] | None:
    """
    @param newId: makes an identifier for an exchange that has none.
    @return: makes the header for an exchange; L{None} if the server gets none.
    """
    if config.send_proxy == "no":
        return None
    if config.send_proxy == "v1":
        return _v1
    options = frozenset(config.send_proxy_options)
    crc32c = "crc32c" in options

    def greeting(exchange: Exchange) -> bytes:
        connection = exchange.connection
        proxied = connection.proxied
        tls = connection.tls
        alpn, authority, uniqueId = b"", "", b""
        if "alpn" in options:
            alpn = (tls.protocol if tls is not None else proxied and proxied.alpn) or b""
        if "authority" in options:
            authority = (tls.sni if tls is not None else proxied and proxied.authority) or ""
        if "unique-id" in options:
            told = proxied and proxied.uniqueId
            uniqueId = exchange.requestId.encode("latin-1") or told or newId().encode()
        ssl = _ssl(connection, "cn" in options) if options & {"ssl", "cn"} else None
        tlvs = makeTLVs(alpn, authority, uniqueId[:LONGEST_UNIQUE_ID], ssl=ssl)
        return encodeV2(connection.client, connection.local, tlvs=tlvs, crc32c=crc32c)

    return greeting


def _v1(exchange: Exchange) -> bytes:
    connection = exchange.connection
    return encodeV1(connection.client, connection.local)


def _ssl(connection: Connection, named: bool) -> SSLInfo:
    """
    @param named: tell the common name of the client's certificate.
    """
    tls = connection.tls
    if tls is None:
        told = None if connection.proxied is None else connection.proxied.ssl
        if told is None:
            return SSLInfo(0, _NOT_VERIFIED)
        return attr.evolve(told, cn=told.cn if named else "", clientCert=b"")
    if not tls.version:
        # It is the server that ends it.
        return SSLInfo(0, _NOT_VERIFIED)
    certificate = tls.certificate
    if certificate is None:
        return SSLInfo(_OVER_TLS, _NOT_VERIFIED, tls.version, cipher=tls.cipher)
    shown = _SHOWN_IN_SESSION if tls.resumed else _SHOWN_HERE | _SHOWN_IN_SESSION
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if named else ()
    cn = str(names[0].value) if names else ""
    return SSLInfo(_OVER_TLS | shown, tls.verify, tls.version, cn, tls.cipher)


def checkGreetingOf(config: ServerConfig) -> Callable[[socket.socket], bytes] | None:
    """
    @return: makes the header for a connection of ours, as section 2 of the protocol's
        description wants it of health checks: LOCAL in version 2, the addresses of the
        connection in version 1. L{None} if checks send none.
    """
    wanted = config.check_send_proxy
    if wanted == "no" or (wanted == "auto" and config.send_proxy == "no"):
        return None
    if config.send_proxy == "v2":
        header = encodeV2(None, None, "LOCAL", crc32c="crc32c" in config.send_proxy_options)
        return lambda skt: header
    return _own


def _own(skt: socket.socket) -> bytes:
    try:
        there = skt.getpeername()
    except OSError:
        # It is closed again; what is sent will not arrive.
        return encodeV1(None, None)
    return encodeV1(pair(skt.family, skt.getsockname()), pair(skt.family, there))
