"""What tests of a service behind a load balancer of Amazon need, here and elsewhere."""

import pytest
from loopback.running import Balancer

from programs import freePort

ELB = """\
[frontend elb]
mode = tcp
bind = 127.0.0.1:{port}
pool = service
[pool service]
timeout-tunnel = 1h
server service = 127.0.0.1:{service} send-proxy=v{version}
"""


@pytest.fixture
def local_elb(tmp_path):
    """
    A function that puts a PROXY header in front of a service under test: C{local_elb(8180)},
    C{local_elb(8180, version=2)}. It gives the port to connect to; what it has started ends
    with the test.
    """
    started = []

    def start(service, version=1):
        port = freePort()
        text = ELB.format(port=port, service=service, version=version)
        balancer = Balancer(tmp_path / f"elb{len(started)}", text)
        balancer.__enter__()
        started.append(balancer)
        return port

    yield start
    for balancer in started:
        balancer.__exit__(None, None, None)
