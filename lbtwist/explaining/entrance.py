"""
How a client comes in, without a client: which address listens for it, what its PROXY
header is worth, how it is met with TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

from lbtwist.arrival import among
from lbtwist.config.model import Bind, Config, FrontendConfig, TLSConfig, TLSName
from lbtwist.errors import StartError
from lbtwist.exchange import TLSInfo
from lbtwist.explaining.asked import Asked
from lbtwist.explaining.explanation import Explanation
from lbtwist.explaining.found import pair, place
from lbtwist.net.certificates import ServerTLS, foresee
from lbtwist.net.handshake import HandshakeRefused
from lbtwist.net.policies import Terms, termsOf
from lbtwist.sansio.clienthello import SECP256R1, SECP384R1, SECP521R1, TLS12, TLS13, ClientHello

# The signatures of today's clients: ECDSA on the usual curves, RSA-PSS, RSA.
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401)
_GROUPS = (SECP256R1, SECP384R1, SECP521R1)


def listener(config: Config, asked: Asked, name: str) -> tuple[FrontendConfig, Bind, str]:
    """
    @param name: of the frontend; C{""} for the one that listens for the request.
    @return: the frontend, where it listens, and why it is that one.
    @raise LookupError: if there is none, with a sentence.
    """
    secure = asked.sni is not None
    kind = "TLS" if secure else "plain connections"
    if name and name not in config.frontends:
        known = ", ".join(config.frontends) or "none"
        raise LookupError(f"there is no [frontend {name}]; there are: {known}")
    fitting = [
        (frontend, bind)
        for frontend in ([config.frontends[name]] if name else config.frontends.values())
        for bind in frontend.bind
        if (bool(bind.tls) or bind.tls_passthrough) == secure or (asked.session and not secure)
    ]
    here = [one for one in fitting if one[1].kind == "tcp" and one[1].port == asked.port]
    # One address alone goes before all of them, as in the kernel.
    here.sort(key=lambda one: (not _hosts(one[1], asked), one[1].host != ""))
    if here:
        return (*here[0], f"listens for {kind} on port {asked.port}")
    if name and fitting:
        return (*fitting[0], "as it was asked for")
    if name:
        raise LookupError(f"[frontend {name}] does not listen for {kind}")
    listening = "; ".join(
        f"{one.name} on {', '.join(map(str, one.bind))}" for one in config.frontends.values()
    )
    raise LookupError(
        f"no frontend listens for {kind} on port {asked.port}: name one with --frontend; there"
        f" are: {listening or 'none'}"
    )


def _hosts(bind: Bind, asked: Asked) -> bool:
    return bool(bind.host) and bind.host in asked.host


class ProxyRefused(Exception):
    """
    The connection ends because of its PROXY header, or for want of one.

    @ivar asRequest: whether the header is read as a request, and answered.
    """

    def __init__(self, reason: str, asRequest: bool = False) -> None:
        super().__init__(reason)
        self.asRequest = asRequest


def proxy(said: Explanation, config: FrontendConfig, bind: Bind, asked: Asked) -> bool:
    """
    @return: whether the PROXY header is read, and what it says is taken for true.
    @raise ProxyRefused: if the connection ends here.
    """
    header = asked.proxied
    accepts = bind.accept_proxy
    if header is None and accepts == "no":
        return False
    networks = bind.accept_proxy_from
    believed = accepts != "no" and (not networks or among(asked.src[0], networks))
    step = said.add(
        "proxy", accept=accepts, believed=believed,
        source=None if header is None else pair(header.source),
        destination=None if header is None else pair(header.destination), came="",
    )  # fmt: skip
    refused = _refused(config, bind, header is not None, believed)
    if refused is not None:
        step["came"] = str(refused)
        raise refused
    read = header is not None and believed
    if read:
        step["came"] = "it says who the client is"
    elif header is not None:
        step["came"] = "it is not expected here, and passed on to the server as data"
    else:
        step["came"] = "there is none, and none is needed"
    return read


def _refused(
    config: FrontendConfig, bind: Bind, there: bool, believed: bool
) -> ProxyRefused | None:
    if bind.accept_proxy == "yes":
        if not believed:
            return ProxyRefused("the peer is none of accept-proxy-from")
        return None if there else ProxyRefused("there is no PROXY header, and one has to come")
    if not there or believed:
        return None
    if bind.tls or bind.tls_passthrough:
        return ProxyRefused("a PROXY header is not expected here, and it is no ClientHello")
    if config.mode == "http":
        return ProxyRefused("a PROXY header is not expected here, and it is no request", True)
    if bind.accept_proxy == "optional":
        return ProxyRefused("a PROXY header from a peer that is none of accept-proxy-from")
    return None


# TLS


class TLSRefused(Exception):
    """There will be no handshake."""


def tls(
    said: Explanation,
    config: Config,
    bind: Bind,
    asked: Asked,
    opened: Callable[[str], ServerTLS | None],
) -> TLSInfo | None:
    """
    @param opened: finds a section whose files are open; the files of another one are read.
    @return: what is known of the client's TLS.
    @raise TLSRefused: if it is refused.
    """
    name = asked.sni
    offered = tuple(one.encode() for one in asked.alpn)
    passes = bind.tls_passthrough
    if not bind.tls and not passes:
        said.add("tls", how="none")
        return None
    if name is None:
        said.add("tls", how="refused")
        raise TLSRefused("there is no ClientHello")
    if passes:
        said.add("tls", how="passed through", sni=name, offers=list(asked.alpn))
        return TLSInfo(name, offered)
    section = config.tls[bind.tls]
    own = nameOf(section, name)
    hello = ClientHello(
        name, offered, (TLS13, TLS12), (0x1301, 0xC02B, 0xC02F), _SIGNATURES, _GROUPS, False,
        False, b"", 0,
    )  # fmt: skip
    terms, certificate, problem, refused = _shown(section, own, hello, opened(bind.tls))
    protocol = next((one for one in bind.alpn if one in offered), b"")
    said.add(
        "tls", how="ended here", section=section.name, where=place(section.where), sni=name,
        name=None if own is None else own.pattern, offers=list(asked.alpn),
        alpn=protocol, certificate=certificate, problem=problem, refused=refused,
        **({} if terms is None else {
            "policy": terms.policy, "minimum": terms.minimum, "maximum": terms.maximum,
            "client-verify": terms.verify,
        }),
    )  # fmt: skip
    if refused:
        raise TLSRefused(refused)
    version = (terms is not None and terms.maximum) or "TLSv1.3"
    return TLSInfo(name, offered, (TLS13, TLS12), protocol, version)


def nameOf(section: TLSConfig, sni: str) -> TLSName | None:
    """@return: what is said of this name in particular."""
    by = {one.pattern: one for one in section.names}
    return by.get(sni) or by.get("*." + sni.partition(".")[2])


def _shown(
    section: TLSConfig, own: TLSName | None, hello: ClientHello, opened: ServerTLS | None
) -> tuple[Terms | None, Any, str, str]:
    """@return: terms, certificate, what cannot be read, why there is no handshake."""
    terms, problem = None, ""
    try:
        terms = termsOf(section, own)
        if opened is not None:
            found, certificate = opened.foresee(hello)
        else:
            found, certificate = foresee(section, hello)
        told = {
            "file": certificate.path,
            "names": list(certificate.names),
            "until": certificate.certificate.not_valid_after_utc.isoformat(),
        }
        return found, told, "", ""
    except HandshakeRefused as refused:
        return terms, None, "", refused.reason
    except StartError as wrong:
        problem = str(wrong)
    except SSL.Error:
        problem = "OpenSSL cannot use its files"
    return terms, None, problem, ""
