"""
Real servers of the protocols that checks speak, each an ordinary process with a directory
of its own, at work between C{with} and its end.

PostgreSQL refuses to run as root, so where the tests do its processes are nobody's; its
directory is outside of pytest's, which is root's alone.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from loopback.running import Child, freePorts, listens

import programs

NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


class Serving(Child):
    """
    One server.

    @ivar port: where it listens on 127.0.0.1.
    """

    name = ""

    def __init__(self, **options):
        self._made = Path(tempfile.mkdtemp(prefix="lbtwist-"))
        try:
            if NOBODY:
                shutil.chown(self._made, NOBODY["user"], NOBODY["group"])
            [self.port] = freePorts(1)
            self.prepare(self._made)
            program, *arguments = self.command(self._made)
            super().__init__(
                [programs.find(program), *map(str, arguments)], self._made, self.name,
                **NOBODY, **options,
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(self._made)
            raise

    def prepare(self, directory):
        """Write what the server needs before it starts."""

    def command(self, directory):
        """@return: the program and its arguments."""
        raise NotImplementedError

    def ready(self):
        """Whether it can be asked."""
        return listens(self.port)

    def once(self, program, *arguments, **options):
        """Run a program of the server's to its end."""
        done = subprocess.run(
            [programs.find(program), *map(str, arguments)], capture_output=True, text=True,
            timeout=60, cwd=self._made, stdin=options.pop("stdin", subprocess.DEVNULL),
            **NOBODY, **options,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def __enter__(self):
        try:
            self.until(self.ready, 60)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, error, traceback):
        self.kill()
        shutil.rmtree(self._made)


class Redis(Serving):
    """A Redis; C{of} makes it a replica of another."""

    name = "redis"

    def __init__(self, of=None, password=""):
        self._of = of
        self._password = password
        super().__init__()

    def command(self, directory):
        replica = ["--replicaof", "127.0.0.1", self._of.port] if self._of else []
        password = ["--requirepass", self._password] if self._password else []
        return [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", directory, *replica, *password,
        ]  # fmt: skip


class MariaDB(Serving):
    """
    A MariaDB with the users C{lbtwist}, without a password, and C{other}, with one; C{more}
    is said to it when it starts.
    """

    name = "mariadb"

    def __init__(self, *more):
        self._more = more
        super().__init__()

    def prepare(self, directory):
        self.once(
            "mariadb-install-db", "--no-defaults", f"--datadir={directory}/data",
            "--auth-root-authentication-method=normal", "--skip-test-db",
            "--innodb-log-file-size=4M",
        )  # fmt: skip
        (directory / "users.sql").write_text(
            "create user lbtwist@'%';\ncreate user other@'%' identified by 'secret';\n"
        )

    def command(self, directory):
        return [
            "mariadbd", "--no-defaults", f"--datadir={directory}/data",
            f"--socket={directory}/s", f"--port={self.port}", "--bind-address=127.0.0.1",
            "--skip-name-resolve", f"--init-file={directory}/users.sql",
            "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", *self._more,
        ]  # fmt: skip


HBA = """\
host replication all 127.0.0.1/32 trust
host all trusted 127.0.0.1/32 trust
host all plain 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
host all modern 127.0.0.1/32 scram-sha-256
local all all trust
"""


class PostgreSQL(Serving):
    """
    A PostgreSQL, whose users C{plain}, C{old} and C{modern} have the password C{secret};
    C{of} makes it a standby of another.
    """

    name = "postgresql"

    def __init__(self, of=None):
        self._of = of
        super().__init__()

    def prepare(self, directory):
        data = directory / "data"
        if self._of is not None:
            self.once(
                "pg_basebackup", "-h", "127.0.0.1", "-p", self._of.port, "-U", "postgres",
                "-D", data, "-R", "--checkpoint=fast",
            )  # fmt: skip
            return
        self.once("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        (data / "pg_hba.conf").write_text(HBA)
        for encryption, name in (("md5", "old"), ("scram-sha-256", "modern")):
            self._ask(data, f"set password_encryption = '{encryption}'",
                      f"create role {name} login password 'secret'")  # fmt: skip
        self._ask(data, "create role plain login password 'secret'", "create role trusted login")

    def _ask(self, data, *statements):
        with tempfile.TemporaryFile("w+") as file:
            file.write("".join(f"{one}\n" for one in statements))
            file.seek(0)
            self.once("postgres", "--single", "-D", data, "postgres", stdin=file)

    def command(self, directory):
        return [
            "postgres", "-D", directory / "data", "-p", self.port, "-h", "127.0.0.1",
            "-k", directory, "-F",
        ]  # fmt: skip

    def ready(self):
        return "ready to accept" in self.err


SLAPD = """\
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
{more}
database mdb
suffix "dc=test"
directory {directory}/data
maxsize 1048576
"""


class OpenLDAP(Serving):
    """A slapd; C{more} is added to its configuration."""

    name = "slapd"

    def __init__(self, more=""):
        self._more = more
        super().__init__()

    def prepare(self, directory):
        (directory / "data").mkdir()
        if NOBODY:
            shutil.chown(directory / "data", NOBODY["user"], NOBODY["group"])
        text = SLAPD.format(directory=directory, more=self._more)
        (directory / "slapd.conf").write_text(text)

    def command(self, directory):
        url = f"ldap://127.0.0.1:{self.port}"
        return ["slapd", "-h", url, "-f", directory / "slapd.conf", "-d", "0"]


class Dnsmasq(Serving):
    """A dnsmasq that knows C{host.test}, and that there is no other name under C{test}."""

    name = "dnsmasq"

    def command(self, directory):
        return [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", f"--port={self.port}", "--listen-address=127.0.0.1",
            "--bind-interfaces", "--local=/test/", "--address=/host.test/192.0.2.1",
            "--pid-file=", "--user=",
        ]  # fmt: skip
