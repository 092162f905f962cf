"""
The programs that the tests use from the outside: the Debian package of each, and those
of PyPI that cannot live in one environment with us.

As a script it says what is missing; with C{--install} it also installs it, where
it may. It needs nothing but Python.
"""

import glob
import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "dnsmasq": "dnsmasq-base",
    "haproxy": "haproxy",
    "hatop": "hatop",
    "initdb": "postgresql",
    "ip": "iproute2",
    "iptables": "iptables",
    "mariadb-install-db": "mariadb-server",
    "mariadbd": "mariadb-server",
    "nc": "netcat-openbsd",
    "nft": "nftables",
    "nginx": "nginx",
    "openssl": "openssl",
    "pg_basebackup": "postgresql",
    "postgres": "postgresql",
    "promtool": "prometheus",
    "psql": "postgresql",
    "redis-server": "redis-server",
    "rsyslogd": "rsyslog",
    "slapd": "slapd",
    "socat": "socat",
    "squid": "squid",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "testssl": "testssl.sh",
    "tmux": "tmux",
    "wrk": "wrk",
}

# Their requirements contradict ours, so each has an environment inside of ours: sslyze 6.3
# wants cryptography below 47, pyOpenSSL 26 one from 49 on.
ENVIRONMENTS = {
    "sslyze": "sslyze>=6.3",
}
NAMES = (*PACKAGES, *ENVIRONMENTS)

# Debian keeps servers where the path of an ordinary user does not look, and PostgreSQL's
# programs where nobody's does.
PATH = os.pathsep.join([
    os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin",
    *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True),
])  # fmt: skip


def find(name):
    """
    @param name: one of L{NAMES}.
    @return: the path of the program, or L{None}.
    """
    own = [str(environment(name) / "bin")] if name in ENVIRONMENTS else []
    return shutil.which(name, path=os.pathsep.join([*own, PATH]))


def environment(name):
    """@return: the directory of one of L{ENVIRONMENTS}."""
    return Path(sys.prefix, "programs", name)


def missing(names=NAMES):
    """@return: those of C{names} that are not on this machine."""
    return [name for name in names if find(name) is None]


# Below those that the kernel gives to connections (net.ipv4.ip_local_port_range), so that
# none of these takes one between now and the listening; and below those of L{bench.system}.
_PORTS = random.sample(range(12000, 20000), 8000)


def freePort():
    """
    @return: a TCP port of 127.0.0.1 that nobody listened on a moment ago, another one each
        time.
    """
    while _PORTS:
        port = _PORTS.pop()
        with socket.socket() as probe:
            # As servers do: a port with connections in TIME-WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise OSError("no port is left")


def install(packages):
    """@return: whether apt-get did it."""
    silent = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", "-q", *command], env=silent).returncode:
            return False
    return True


def makeEnvironment(name):
    """Install one of L{ENVIRONMENTS}; nothing is left of it if that fails."""
    directory = environment(name)
    pip = [directory / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", directory],
        [*pip, "install", ENVIRONMENTS[name]],
    ):
        if subprocess.run(command).returncode:
            shutil.rmtree(directory, ignore_errors=True)
            return


def main(arguments):
    absent = missing()
    if not absent:
        return
    print(f"The tests also use: {', '.join(absent)}")
    if "--install" in arguments:
        packages = sorted({PACKAGES[name] for name in absent if name in PACKAGES})
        if packages and os.geteuid() == 0 and shutil.which("apt-get"):
            print(f"Installing {' '.join(packages)}; Debian may start some of it as a service.")
            install(packages)
        # Outside of an environment it would land beside Debian's own Python.
        if sys.prefix != sys.base_prefix:
            for name in absent:
                if name in ENVIRONMENTS:
                    print(f"Installing {name} into {environment(name)}", flush=True)
                    makeEnvironment(name)
        absent = missing()
        if not absent:
            return
    packages = sorted({PACKAGES[name] for name in absent if name in PACKAGES})
    print(f"What needs {', '.join(absent)} is skipped. To have it run:")
    if packages:
        print(f"    as root: apt-get install {' '.join(packages)}")
    if not ENVIRONMENTS.keys().isdisjoint(absent):
        print("    in an environment of Python: python tests/programs.py --install")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
