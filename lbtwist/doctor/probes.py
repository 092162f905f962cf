"""
Ask each server with and without a PROXY header, and say which one it answers.

Bounded: one connection each way per server, at most two seconds. What is asked is
C{OPTIONS *}, which changes nothing; a server that speaks no HTTP answers something, or
nothing, and nothing is no verdict.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lbtwist.config.model import Config, PoolConfig, ServerConfig
from lbtwist.doctor.facts import Facts, Item, look, missing, ok
from lbtwist.doctor.system import members
from lbtwist.sansio.proxyheader import encodeV1, encodeV2

PATIENCE = 2.0
"""Seconds for one probe: connect, send and the first of an answer."""

AT_ONCE = 16
"""Servers that are asked at the same time."""

_REQUEST = (
    b"OPTIONS * HTTP/1.1\r\nHost: %b\r\nUser-Agent: lbtwist-doctor\r\nConnection: close\r\n\r\n"
)


def checkServers(config: Config, facts: Facts) -> Iterator[Item]:
    """@return: one item for each server, and more where its answer does not fit."""
    # Where those of a source are nobody knows but the source.
    asked = [pair for pair in members(config) if pair[1].host or pair[1].kind == "unix"]
    asked = [pair for pair in asked if pair[1].kind not in ("demo", "object")]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(lambda pair: _server(pair[0], pair[1], facts), asked)


def _server(pool: PoolConfig, server: ServerConfig, facts: Facts) -> Item:
    what = f"server {pool.name}/{server.name} ({server})"
    family: int = socket.AF_UNIX
    address: object = server.path
    try:
        if server.kind != "unix":
            family, address = facts.resolve(server.host, server.port)[0]
    except (OSError, IndexError) as failed:
        return missing(f"{what}: no address: {_why(failed)}", f"getent hosts {server.host}")
    version = "v1" if server.send_proxy == "no" else server.send_proxy
    header = _header(version, family, address)
    tls = (server.sni or server.host or "localhost") if server.tls else None
    request = _REQUEST % (server.host or "localhost").encode("idna")
    answers: list[bytes | None] = []
    refused = ""
    for first in (b"", header):
        try:
            answers.append(facts.converse(family, address, first + request, tls, PATIENCE))
        except TimeoutError:
            answers.append(None)
        except ConnectionRefusedError as failed:
            refused = _why(failed)
            break
        except OSError as failed:
            answers.append(b"")
            refused = _why(failed)
    if len(answers) < 2:
        return missing(f"{what}: {refused}", "ss -ltn  # there: does it listen?")
    return _verdict(what, server, version, *(_good(one) for one in answers))


def _good(answer: bytes | None) -> bool | None:
    """@return: whether it is the answer of somebody who understood; L{None} if not known."""
    if answer is None:
        return None
    if not answer:
        return False
    if answer.startswith(b"HTTP/"):
        return answer[8:12] != b" 400"
    return True


def _verdict(
    what: str, server: ServerConfig, version: str, plain: bool | None, proxied: bool | None
) -> Item:
    sends = server.send_proxy != "no"
    if plain and proxied:
        return ok(f"{what} answers with a PROXY header and without")
    if plain:
        text = f"{what} answers without a PROXY header only"
        mend = f"remove send-proxy={server.send_proxy} from it"
        return missing(text, mend) if sends else ok(text)
    if proxied:
        text = f"{what} answers with a PROXY header ({version}) only"
        return ok(text) if sends else missing(text, f"add send-proxy={version} to it")
    if plain is None or proxied is None:
        return look(f"{what} takes connections and says nothing in {PATIENCE:g} s")
    return missing(
        f"{what} closes, with a PROXY header ({version}) and without",
        f"curl -v {'https' if server.tls else 'http'}://{server}/  # and read its log",
    )


def _header(version: str, family: int, address: object) -> bytes:
    source = destination = None
    if family == socket.AF_INET and isinstance(address, tuple):
        source, destination = ("127.0.0.1", 1), (str(address[0]), int(address[1]))
    elif family == socket.AF_INET6 and isinstance(address, tuple):
        source, destination = ("::1", 1), (str(address[0]).partition("%")[0], int(address[1]))
    if version == "v1":
        return encodeV1(source, destination)
    return encodeV2(source, destination, "PROXY" if source else "LOCAL")


def _why(failed: Exception) -> str:
    return (getattr(failed, "strerror", None) or str(failed) or "it failed").lower()
