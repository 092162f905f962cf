"""
An nginx with the places that the test of a recipe names, and curl to ask for them.
"""

import os

from loopback.running import Child, listens, run, write

from programs import freePort


class Places(Child):
    """
    An nginx.

    @ivar port: where it listens.
    """

    def __init__(self, directory, places):
        """@param places: what stands in its C{server} block."""
        self.port = freePort()
        user = "user root;" if os.geteuid() == 0 else ""
        config = write(
            directory / "nginx.conf",
            f"""\
            daemon off;
            worker_processes 1;
            pid nginx.pid;
            {user}
            error_log error.log warn;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                default_type text/plain;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                server {{
                    listen 127.0.0.1:{self.port};
                    {places}
                }}
            }}
            """,
        )
        super().__init__(
            ["nginx", "-p", str(directory), "-e", "error.log", "-c", str(config)],
            directory, "nginx",
        )  # fmt: skip

    def __enter__(self):
        try:
            self.until(lambda: listens(self.port))
        except BaseException:
            self.kill()
            raise
        return self

    def __str__(self):
        return f"127.0.0.1:{self.port}"


def curl(*arguments):
    """@return: what it has printed."""
    done = run("curl", "-sS", "--max-time", 20, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def named(url, port, *arguments):
    """
    Ask for a URL as if its host were this machine.

    @param port: where the balancer listens, whatever the URL says.
    @return: the status line, the fields as pairs, their names in lower case, and the body.
    """
    said = curl("-i", *arguments, "--connect-to", f"::127.0.0.1:{port}", url)
    head, _, body = said.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    fields = []
    for line in lines:
        name, _, value = line.partition(": ")
        fields.append((name.lower(), value))
    return status, fields, body


def values(fields, name):
    """@return: of the fields of a name."""
    return [value for one, value in fields if one == name]
