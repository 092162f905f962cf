"""
The programs outside of Python that the tests use, and the Debian package of each.

As a script it says what is missing; with C{--install} it also installs it, where
it may. It needs nothing but Python.
"""

import os
import shutil
import socket
import subprocess
import sys

PACKAGES = {
    "curl": "curl",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "iptables": "iptables",
    "nc": "netcat-openbsd",
    "nft": "nftables",
    "nginx": "nginx",
    "openssl": "openssl",
    "squid": "squid",
    "wrk": "wrk",
}

# Debian keeps servers where the path of an ordinary user does not look.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def find(name):
    """
    @param name: one of L{PACKAGES}.
    @return: the path of the program, or L{None}.
    """
    return shutil.which(name, path=PATH)


def missing(names=tuple(PACKAGES)):
    """@return: those of C{names} that are not on this machine."""
    return [name for name in names if find(name) is None]


def freePort():
    """@return: a TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install(packages):
    """@return: whether apt-get did it."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", "-q", *command], env=environment).returncode:
            return False
    return True


def main(arguments):
    absent = missing()
    if not absent:
        return
    packages = sorted({PACKAGES[name] for name in absent})
    print(f"The tests also use: {', '.join(absent)}")
    if "--install" in arguments and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {' '.join(packages)}; Debian may start some of it as a service.")
        if install(packages):
            return
    print("What needs them is skipped. To have it run, as root:")
    print(f"    apt-get install {' '.join(packages)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
