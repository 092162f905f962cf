"""
From a bind in the configuration to a listening socket.

Every failure is an L{StartError} that says which address, why, and what helps.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any

from lbtwist.config.model import Bind
from lbtwist.errors import StartError

_FIRST_PASSED = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""


def listen(bind: Bind) -> socket.socket:
    """
    @return: a socket that listens.
    @raise StartError: if it cannot be opened.
    """
    try:
        if bind.kind == "unix":
            return _unix(bind)
        if bind.kind == "fd":
            return _passed(bind.port, bind)
        if bind.kind == "systemd":
            return _systemd(bind)
        return _tcp(bind)
    except OSError as failed:
        hint = _HINTS.get(failed.errno or 0, "")
        raise StartError(
            f"{bind.where}: cannot listen on {bind}: {failed.strerror or failed}{hint}"
        ) from None


_HINTS = {
    errno.EACCES: " (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
    errno.EADDRINUSE: " (another program listens there: see ss -ltnp)",
    errno.EADDRNOTAVAIL: " (no interface of this machine has that address)",
}


def _tcp(bind: Bind) -> socket.socket:
    family = socket.AF_INET
    if ":" in bind.host or (not bind.host and socket.has_dualstack_ipv6()):
        family = socket.AF_INET6
    skt = socket.socket(family, socket.SOCK_STREAM)
    try:
        skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it.
        skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            skt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if bind.host else 0)
        skt.bind((bind.host, bind.port))
        skt.listen(bind.backlog)
    except BaseException:
        skt.close()
        raise
    return skt


def _unix(bind: Bind) -> socket.socket:
    skt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(bind.path):
            if not stat.S_ISSOCK(os.stat(bind.path).st_mode):
                raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
            # A socket that nobody listens on was left behind by a process that ended.
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with probe:
                if probe.connect_ex(bind.path) == 0:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            os.unlink(bind.path)
        # Nobody may connect before the access mode is right.
        before = os.umask(0o777 & ~bind.mode)
        try:
            skt.bind(bind.path)
        finally:
            os.umask(before)
        os.chmod(bind.path, bind.mode)
        skt.listen(bind.backlog)
    except BaseException:
        skt.close()
        raise
    return skt


def _passed(number: int, bind: Bind) -> socket.socket:
    skt = socket.socket(fileno=os.dup(number))
    try:
        if skt.type != socket.SOCK_STREAM:
            raise OSError(errno.EINVAL, "the descriptor is not a stream socket")
        if not skt.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            skt.listen(bind.backlog)
        if skt.family != socket.AF_UNIX:
            skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        skt.close()
        raise
    return skt


def _systemd(bind: Bind) -> socket.socket:
    count = os.environ.get("LISTEN_FDS", "0")
    if os.environ.get("LISTEN_PID", "") != str(os.getpid()) or not count.isdigit():
        raise OSError(errno.EBADF, "systemd has passed no sockets to this process")
    if bind.port >= int(count):
        raise OSError(errno.EBADF, f"systemd has passed only {count} sockets")
    return _passed(_FIRST_PASSED + bind.port, bind)


def plainHost(host: str) -> str:
    """An IPv4 address that came mapped into IPv6 (RFC 4291 2.5.5.2), as IPv4."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def pair(family: int, name: Any) -> tuple[str, int]:
    """A socket's name as host and port; C{("unix", 0)} for a UNIX socket."""
    if family == socket.AF_UNIX:
        return ("unix", 0)
    return (plainHost(name[0]), name[1])


def authority(address: tuple[str, int]) -> bytes:
    """
    @param address: as L{pair} makes it.
    @return: what a C{Host} field says for it (RFC 9110 section 7.2).
    """
    host, port = address
    if not port:
        return b"localhost"
    return (f"[{host.partition('%')[0]}]:{port}" if ":" in host else f"{host}:{port}").encode()
