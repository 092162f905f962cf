"""
The sockets of another process, to ask the kernel what was set on them.
"""

import ctypes
import os
import socket
from errno import EBADF

import pytest

PIDFD_GETFD = 438
"""The number of the system call, the same everywhere; see pidfd_getfd(2)."""


def borrowed(pid):
    """
    @param pid: of a process that we may look into; the test is skipped otherwise.
    @return: its sockets; whoever takes one closes it.
    """
    getfd = ctypes.CDLL(None, use_errno=True).syscall
    held = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            fd = getfd(PIDFD_GETFD, held, int(name), 0)
            if fd < 0:
                if ctypes.get_errno() != EBADF:
                    pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
                continue
            try:
                yield socket.socket(fileno=fd)
            except OSError:
                os.close(fd)
    finally:
        os.close(held)


def peerOf(skt):
    """@return: whom a socket is connected to; L{None} if to nobody."""
    try:
        return skt.getpeername()
    except OSError:
        return None
