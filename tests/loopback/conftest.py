"""
What the loopback tests share: an nginx, a server whose every connection a test accepts
by itself, and one lbtwist in front of both on each of three reactors.
"""

import pytest
from loopback import wire
from loopback.browsed import browser, ill, shots, site, visit  # noqa: F401
from loopback.running import REACTORS, Balancer, Nginx, freePorts, hasIPv6


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """One nginx for all, also on a UNIX socket and on [::1]."""
    listen = [f"[::1]:{freePorts(1)[0]}"] if hasIPv6() else []
    with Nginx(tmp_path_factory.mktemp("nginx"), listen=listen) as nginx:
        nginx.six = listen
        yield nginx


@pytest.fixture(scope="session")
def server():
    """A server that only listens: the test accepts and answers."""
    with wire.listening() as server:
        yield server


@pytest.fixture(scope="session", params=REACTORS)
def balancer(request, tmp_path_factory, nginx, server):
    """
    One lbtwist on each reactor. Its C{ports} are called as its frontends are, and its
    pools are C{nginx}, and C{own}, which is the fixture C{server}.
    """
    directory = tmp_path_factory.mktemp(request.param)
    names = ("www", "own", "raw", "rawnginx", "small", "local", "open")
    ports = dict(zip(names, freePorts(len(names)), strict=True))
    text = f"""\
        [global]
        log = file:access.log

        [frontend www]
        bind = 127.0.0.1:{ports["www"]}, unix:www.sock mode=660
        pool = nginx

        [frontend own]
        bind = 127.0.0.1:{ports["own"]}
        pool = own

        [frontend small]
        bind = 127.0.0.1:{ports["small"]}
        pool = own
        max-body = 1m

        [frontend open]
        bind = 127.0.0.1:{ports["open"]}
        pool = own
        connect = forward

        [frontend raw]
        mode = tcp
        bind = 127.0.0.1:{ports["raw"]}
        pool = own

        [frontend rawnginx]
        mode = tcp
        bind = 127.0.0.1:{ports["rawnginx"]}
        pool = nginx

        [frontend local]
        bind = 127.0.0.1:{ports["local"]}
        pool = local

        [pool nginx]
        server nginx = 127.0.0.1:{nginx.port}

        [pool own]
        http-reuse = never
        server own = 127.0.0.1:{wire.port(server)}

        [pool local]
        server nginx = unix:{nginx.path}
        """
    with Balancer(directory, text, request.param) as balancer:
        balancer.reactor = request.param
        balancer.ports = ports
        balancer.url = f"http://127.0.0.1:{ports['www']}"
        yield balancer
