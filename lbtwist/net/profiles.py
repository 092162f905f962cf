"""
What a C{[tcp]} section means for a socket: the options, in the order they are set.

Compiled once, set on every socket. Not here: addresses and interfaces
(L{lbtwist.net.addresses}, L{lbtwist.snat}).
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable

from lbtwist.config.model import TCPConfig
from lbtwist.errors import StartError

SocketOption = tuple[int, int, "int | bytes", str]
"""Level, option and value as C{setsockopt} takes them, and the word in the configuration."""

MAX_KEEPALIVE = 32767
"""Seconds: the most that TCP_KEEPIDLE and TCP_KEEPINTVL take (tcp(7))."""


class RefusedOption(OSError):
    """The kernel does not take an option; C{strerror} names it as it is written."""


class Profile:
    """
    One C{[tcp]} section, ready to be set.

    @ivar listening: for a socket before it listens; accepted sockets inherit them.
    @ivar connecting: for a socket before it connects. C{fastopen} is not among them:
        a connect that succeeds before it is tried could not be repeated elsewhere.
    """

    __slots__ = ("config", "connecting", "listening")

    def __init__(self, config: TCPConfig) -> None:
        self.config = config
        self.connecting = tuple(_both(config))
        self.listening = self.connecting + tuple(_listening(config))

    def __repr__(self) -> str:
        return f"<Profile {self.config.name}>"

    def verify(self) -> None:
        """
        Try everything on sockets that are thrown away.

        @raise StartError: if this kernel does not take something, or not from us.
        """
        for options in (self.connecting, self.listening):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as skt:
                self._try(options, skt)

    def _try(self, options: tuple[SocketOption, ...], skt: socket.socket) -> None:
        try:
            setAll(skt, options)
        except RefusedOption as refused:
            config = self.config
            raise StartError(f"{config.where}: [tcp {config.name}] {refused.strerror}") from None


def setAll(skt: socket.socket, options: tuple[SocketOption, ...]) -> None:
    """@raise RefusedOption: if one cannot be set."""
    set_: Callable[[int, int, int | bytes], None] = skt.setsockopt
    for level, option, value, word in options:
        try:
            set_(level, option, value)
        except OSError as failed:
            shown = value.decode() if isinstance(value, bytes) else value
            hint = _HINTS.get(word, "")
            raise RefusedOption(
                failed.errno, f"{word} = {shown} is refused: {failed.strerror}{hint}"
            ) from None


_HINTS = {
    "congestion": " (what there is: sysctl net.ipv4.tcp_available_congestion_control;"
    " what may be used without CAP_NET_ADMIN: net.ipv4.tcp_allowed_congestion_control)",
    "mss": " (Linux takes 88 to 32767)",
}


def _both(config: TCPConfig) -> list[SocketOption]:
    tcp = socket.IPPROTO_TCP
    found: list[SocketOption] = [
        (tcp, socket.TCP_NODELAY, int(config.nodelay), "nodelay"),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(config.keepalive > 0), "keepalive"),
    ]
    if config.keepalive:
        found.append((tcp, socket.TCP_KEEPIDLE, _seconds(config.keepalive), "keepalive"))
    if config.keepalive_interval:
        interval = _seconds(config.keepalive_interval)
        found.append((tcp, socket.TCP_KEEPINTVL, interval, "keepalive-interval"))
    if config.keepalive_count:
        count = config.keepalive_count
        found.append((tcp, socket.TCP_KEEPCNT, count, "keepalive-count"))
    if config.user_timeout:
        # RFC 5482; in milliseconds.
        timeout = min(math.ceil(config.user_timeout * 1000), 0x7FFFFFFF)
        found.append((tcp, socket.TCP_USER_TIMEOUT, timeout, "user-timeout"))
    # Before listen and connect: the window scale is agreed on in the handshake.
    for option, size, word in (
        (socket.SO_SNDBUF, config.send_buffer, "send-buffer"),
        (socket.SO_RCVBUF, config.receive_buffer, "receive-buffer"),
    ):
        if size:
            found.append((socket.SOL_SOCKET, option, min(size, 0x7FFFFFFF), word))
    if config.congestion:
        name = config.congestion.encode()
        found.append((tcp, socket.TCP_CONGESTION, name, "congestion"))
    if config.mss:
        found.append((tcp, socket.TCP_MAXSEG, config.mss, "mss"))
    return found


def _listening(config: TCPConfig) -> list[SocketOption]:
    tcp = socket.IPPROTO_TCP
    found: list[SocketOption] = []
    if config.fastopen:
        found.append((tcp, socket.TCP_FASTOPEN, config.fastopen, "fastopen"))
    if config.defer_accept:
        wait = math.ceil(config.defer_accept)
        found.append((tcp, socket.TCP_DEFER_ACCEPT, wait, "defer-accept"))
    return found


def _seconds(time: float) -> int:
    return min(math.ceil(time), MAX_KEEPALIVE)
