"""
What is asked to be explained: a request, or a session in C{mode = tcp}, as it is written
on a command line. Whether it is one that the balancer would accept is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

import attr

from lbtwist.sansio.proxyheader import ProxyHeader

Address = tuple[str, int]

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(#.*)?", re.I | re.S)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_SOURCE_PORT = 40000


@attr.frozen
class Asked:
    """
    A request to explain.

    @ivar method: C{TCP} for a session without HTTP.
    @ivar target: of the request; of a session C{HOST:PORT}.
    @ivar host: what C{Host} says, unless a field of that name is among C{fields}.
    @ivar port: that is connected to.
    @ivar sni: the name asked for in TLS; L{None} is without TLS.
    @ivar src: who connects to us.
    @ivar fields: in order, as they are sent.
    @ivar alpn: the protocols offered in TLS.
    @ivar proxied: the PROXY header that comes first, if one does; without a destination it
        names the address that is connected to.
    """

    method: str
    target: str
    host: str
    port: int
    sni: str | None = None
    src: Address = ("127.0.0.1", _SOURCE_PORT)
    fields: tuple[tuple[str, str], ...] = ()
    alpn: tuple[str, ...] = ()
    proxied: ProxyHeader | None = None

    @property
    def session(self) -> bool:
        """Whether it is one without HTTP."""
        return self.method == "TCP"

    @property
    def sent(self) -> list[tuple[str, str]]:
        """The fields of the request, C{Host} among them."""
        named = any(name.lower() == "host" for name, _ in self.fields)
        return [*([] if named else [("Host", self.host)]), *self.fields]

    def encode(self) -> bytes:
        """The head as it goes over the wire."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.sent]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("utf-8", "surrogateescape")


def asking(
    request: str,
    src: str = "127.0.0.1",
    sni: str | None = None,
    alpn: str = "",
    fields: Sequence[tuple[str, str]] = (),
    proxied: str = "",
) -> Asked:
    """
    @param request: C{METHOD URL}, C{CONNECT HOST:PORT} or C{TCP HOST:PORT}.
    @param src: C{ADDRESS} or C{ADDRESS:PORT}.
    @param sni: L{None} is the URL's host, where it is C{https}.
    @param alpn: separated by commas.
    @param proxied: C{SOURCE} or C{SOURCE DESTINATION}, each as C{src}.
    @raise ValueError: with a sentence, if it makes no sense.
    """
    for text in (request, *(part for field in fields for part in field)):
        if re.search(r"[\r\n\0]", text):
            raise ValueError(f"{text!r} has the end of a line in it")
    words = request.split()
    if len(words) != 2:
        raise ValueError(f"{request!r} is no request: write 'GET https://HOST/PATH'")
    method, url = words
    if method.upper() in ("TCP", "CONNECT"):
        host, port = _hostAndPort(url)
        target, named, secure = url, url, sni is not None
        method = "TCP" if method.upper() == "TCP" else method
    else:
        secure, named, host, port, target = _parted(url)
    if secure and sni is None:
        sni = "" if _isAddress(host) else host.rstrip(".").lower()
    offered = tuple(one.strip() for one in alpn.split(",") if one.strip())
    return Asked(
        method, target, named, port, sni if secure else None, _address(src, "--src"),
        tuple(fields), offered, _header(proxied),
    )  # fmt: skip


def _parted(url: str) -> tuple[bool, str, str, int, str]:
    """@return: whether it is C{https}; authority, host, port and target."""
    found = _URL.fullmatch(url)
    if found is None or not found[2]:
        raise ValueError(f"{url!r} is no address: write http://HOST/PATH or https://...")
    if found[4]:
        raise ValueError(f"{url!r} has a fragment, which no client sends: leave {found[4]} out")
    authority = _AUTHORITY.fullmatch(found[2])
    if authority is None or not authority[1]:
        raise ValueError(f"{found[2]!r} is no host: write HOST or HOST:PORT")
    secure = found[1].lower() == "https"
    usual = 443 if secure else 80
    port = _port(authority[2], url) if authority[2] else usual
    path = found[3]
    return secure, found[2], _bare(authority[1]), port, path if path[:1] == "/" else "/" + path


def _hostAndPort(text: str) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    if found is None or not found[1] or not found[2]:
        raise ValueError(f"{text!r} is no address with a port: write HOST:PORT")
    return _bare(found[1]), _port(found[2], text)


def _port(said: str, text: str) -> int:
    if len(said) > 5 or not 0 < int(said) < 65536:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return int(said)


def _bare(host: str) -> str:
    return host.removeprefix("[").removesuffix("]")


def _isAddress(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _address(text: str, option: str) -> Address:
    """@raise ValueError: with a sentence."""
    host, port = _bare(text), _SOURCE_PORT
    if not _isAddress(host):
        found = _AUTHORITY.fullmatch(text)
        if found is not None and found[2]:
            host, port = _bare(found[1]), _port(found[2], text)
    if not _isAddress(host):
        raise ValueError(f"{text!r} is not an address: write {option} 203.0.113.9")
    return str(ip_address(host)), port


def _header(proxied: str) -> ProxyHeader | None:
    words = proxied.split()
    if not words:
        return None
    if len(words) > 2:
        raise ValueError(f"{proxied!r}: write --proxied 'SOURCE DESTINATION'")
    source = _address(words[0], "--proxied")
    destination = _address(words[1], "--proxied") if len(words) > 1 else None
    if destination is not None and (":" in source[0]) != (":" in destination[0]):
        raise ValueError(f"{proxied!r}: both addresses are IPv4, or both IPv6")
    family = "INET6" if ":" in source[0] else "INET"
    return ProxyHeader(2, "PROXY", family, "STREAM", source, destination)
