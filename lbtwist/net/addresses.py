"""
From a bind in the configuration to a listening socket, and the socket options that
say whose address and which interface a socket uses.

Every failure to listen is a L{StartError} that says which address, why, and what
helps. Not here: from where a connection to a server comes (L{lbtwist.snat}).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable
from typing import Any

from lbtwist import PASSED
from lbtwist.config.model import Bind
from lbtwist.errors import StartError
from lbtwist.net.inherited import inherited
from lbtwist.net.profiles import Profile, RefusedOption, setAll

_FIRST_PASSED = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""

IP_FREEBIND = 15
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
IPV6_FREEBIND = 78
"""Of C{linux/in.h} and C{linux/in6.h}; Python does not name them all."""


class NotPermitted(OSError):
    """An option needs a privilege; C{strerror} names both."""


def listen(bind: Bind, profile: Profile | None = None, beside: bool = False) -> socket.socket:
    """
    @param profile: of C{bind.tcp}; UNIX sockets have none.
    @param beside: a socket of ours that shares it (SO_REUSEPORT) has the address still.
    @return: a socket that listens.
    @raise StartError: if it cannot be opened.
    """
    found = inherited.listening(bind)
    try:
        if found is not None:
            return _again(found, bind, profile)
        if bind.kind == "unix":
            return _unix(bind)
        if bind.kind == "fd":
            return _passed(bind.port, bind, profile)
        if bind.kind == "systemd":
            return _systemd(bind, profile)
        return _tcp(bind, profile, beside)
    except RefusedOption as refused:
        raise StartError(
            f"{bind.where}: cannot listen on {bind}: [tcp {bind.tcp}] {refused.strerror}"
        ) from None
    except OSError as failed:
        named = isinstance(failed, (NotPermitted, NoInterface))
        hint = "" if named else _HINTS.get(failed.errno or 0, "")
        raise StartError(
            f"{bind.where}: cannot listen on {bind}: {failed.strerror or failed}{hint}"
        ) from None


def _again(skt: socket.socket, bind: Bind, profile: Profile | None) -> socket.socket:
    """@return: a socket that listens already, with what can be changed about it."""
    try:
        if bind.kind == "unix":
            os.chmod(bind.path, bind.mode)
            give(bind)
        elif skt.family != socket.AF_UNIX:
            _setUp(skt, profile)
        skt.listen(bind.backlog)
    except BaseException:
        skt.close()
        raise
    return skt


_HINTS = {
    errno.EACCES: " (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
    errno.EADDRINUSE: " (another program listens there: see ss -ltnp)",
    errno.EADDRNOTAVAIL: " (no interface of this machine has that address; with freebind it"
    " need not exist yet, with transparent it may be somebody else's)",
}


class NoInterface(OSError):
    """There is no interface of a name; C{strerror} names it."""


def bindToInterface(skt: socket.socket, name: str) -> None:
    """
    Let a socket use one interface only, for what comes in and what goes out
    (SO_BINDTODEVICE, socket(7)). Before C{bind}, so that two sockets may have one
    address on two interfaces.

    @raise NoInterface: if there is none of that name.
    @raise NotPermitted: before Linux 5.7 without C{CAP_NET_RAW}.
    """
    try:
        skt.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(name) + b"\0")
    except PermissionError as failed:
        raise NotPermitted(
            failed.errno, f"interface {name}: it takes CAP_NET_RAW, or Linux 5.7, to use it"
        ) from None
    except OSError as failed:
        if failed.errno in (errno.ENODEV, errno.EINVAL):
            raise NoInterface(
                errno.ENODEV,
                f"there is no interface {name!r} (see: ip -brief link; it has {_interfaces()})",
            ) from None
        raise


def _interfaces() -> str:
    return ", ".join(name for _, name in socket.if_nameindex()) or "none"


def setTransparent(skt: socket.socket) -> None:
    """
    Let a socket have an address that is not of this machine (IP_TRANSPARENT, ip(7)).
    On an IPv6 socket it counts for IPv4-mapped addresses too.

    @raise NotPermitted: without C{CAP_NET_ADMIN} and C{CAP_NET_RAW}.
    """
    try:
        if skt.family == socket.AF_INET6:
            skt.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        else:
            skt.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    except PermissionError as failed:
        raise NotPermitted(
            failed.errno,
            "an address that is not of this machine takes root, CAP_NET_ADMIN or CAP_NET_RAW"
            " (in a systemd unit: AmbientCapabilities=CAP_NET_ADMIN)",
        ) from None


def _setFreebind(skt: socket.socket) -> None:
    if skt.family == socket.AF_INET6:
        skt.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        skt.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def isLocal(host: str) -> bool:
    """
    @param host: a numeric address.
    @return: whether it is one of this machine's. Asks the kernel and sends nothing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    if not _anythingIsBound(6 if ":" in host else 4):
        return True
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Packets to one's own address come from it.
            probe.connect((host, 9))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == host)


def _anythingIsBound(version: int) -> bool:
    """Whether addresses of other machines can be bound as well (C{ip_nonlocal_bind})."""
    try:
        with open(f"/proc/sys/net/ipv{version}/ip_nonlocal_bind") as setting:
            return setting.read().strip() == "1"
    except OSError:
        return False


newSocket: Callable[[int, int], socket.socket] = socket.socket
"""Makes the sockets that listen on TCP."""


def _tcp(bind: Bind, profile: Profile | None, beside: bool) -> socket.socket:
    family = socket.AF_INET
    if ":" in bind.host or (not bind.host and socket.has_dualstack_ipv6()):
        family = socket.AF_INET6
    skt = newSocket(family, socket.SOCK_STREAM)
    try:
        skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if beside:
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bind.interface:
            bindToInterface(skt, bind.interface)
        if bind.transparent:
            setTransparent(skt)
        if bind.freebind:
            _setFreebind(skt)
        _setUp(skt, profile)
        if family == socket.AF_INET6:
            skt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if bind.host else 0)
        skt.bind((bind.host, bind.port))
        skt.listen(bind.backlog)
    except BaseException:
        skt.close()
        raise
    return skt


def _setUp(skt: socket.socket, profile: Profile | None) -> None:
    """Set what accepted sockets inherit."""
    if profile is None:
        skt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        setAll(skt, profile.listening)


def _unix(bind: Bind) -> socket.socket:
    skt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(bind.path):
            if not stat.S_ISSOCK(os.stat(bind.path).st_mode):
                raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
            # A socket that nobody listens on was left behind by a process that ended.
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with probe:
                # Whoever listens may take nobody now, let nobody in or speak in datagrams.
                probe.setblocking(False)
                failed = probe.connect_ex(bind.path)
                if failed == errno.EACCES:
                    raise OSError(
                        errno.EEXIST, "a socket of another user is there, and may be in use"
                    )
                if failed != errno.ECONNREFUSED:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            os.unlink(bind.path)
        # Nobody may connect before the access mode is right.
        before = os.umask(0o777 & ~bind.mode)
        try:
            skt.bind(bind.path)
        finally:
            os.umask(before)
        try:
            os.chmod(bind.path, bind.mode)
            give(bind)
            skt.listen(bind.backlog)
        except BaseException:
            os.unlink(bind.path)
            raise
    except BaseException:
        skt.close()
        raise
    return skt


def give(bind: Bind) -> None:
    """
    Have a UNIX socket be its owner's.

    @raise OSError: if there is no such owner, or who runs this may not.
    """
    if not bind.user and not bind.group:
        return
    user = _numbered(bind.user, "user", lambda name: pwd.getpwnam(name).pw_uid)
    group = _numbered(bind.group, "group", lambda name: grp.getgrnam(name).gr_gid)
    try:
        os.chown(bind.path, user, group)
    except PermissionError as failed:
        raise NotPermitted(
            failed.errno, f"only root may give it to user {bind.user!r}, or to a group that it is"
            f" not in itself, as {bind.group!r}",
        ) from None  # fmt: skip


def _numbered(name: str, what: str, known: Callable[[str], int]) -> int:
    """@return: the number of a user or of a group; -1, which chown(2) passes over, for none."""
    if not name or name.isdecimal():
        return int(name or -1)
    try:
        return known(name)
    except KeyError:
        raise OSError(errno.EINVAL, f"there is no {what} {name!r} on this machine") from None


def _passed(number: int, bind: Bind, profile: Profile | None) -> socket.socket:
    skt = socket.socket(fileno=os.dup(number))
    try:
        if skt.type != socket.SOCK_STREAM:
            raise OSError(errno.EINVAL, "the descriptor is not a stream socket")
        if skt.family != socket.AF_UNIX:
            _setUp(skt, profile)
        if not skt.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            skt.listen(bind.backlog)
    except BaseException:
        skt.close()
        raise
    return skt


def _systemd(bind: Bind, profile: Profile | None) -> socket.socket:
    said = {**PASSED, **os.environ}
    count = said["LISTEN_FDS"]
    if said["LISTEN_PID"] != str(os.getpid()) or not count.isdigit():
        raise OSError(errno.EBADF, "systemd has passed no sockets to this process")
    number = bind.port
    if bind.name:
        names = said["LISTEN_FDNAMES"].split(":")[: int(count)]
        if names.count(bind.name) != 1:
            there = ", ".join(names) or "none"
            many = "several sockets" if bind.name in names else "no socket"
            raise OSError(
                errno.EBADF,
                f"systemd has passed {many} of this name, of {count} (FileDescriptorName= of"
                f" systemd.socket says it; there are: {there})",
            )
        number = names.index(bind.name)
    if number >= int(count):
        raise OSError(errno.EBADF, f"systemd has passed only {count} sockets")
    return _passed(_FIRST_PASSED + number, bind, profile)


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
