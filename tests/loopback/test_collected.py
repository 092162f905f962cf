"""A collector of traces as an operator has it: a process that listens, and workers that tell it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import pytest
from collected import spansOf
from loopback.running import Balancer, Nginx, freePorts, until

pytestmark = pytest.mark.needs("nginx")


class Collector:
    """Takes what is posted. @ivar bodies: what has come."""

    def __enter__(self):
        bodies = self.bodies = []

        class Takes(BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *told):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self):
        return spansOf(*self.bodies)


def text(port, server, collector, count):
    return f"""\
        [global]
        workers = {count}
        otlp = http://127.0.0.1:{collector.port}/v1/traces
        grace-period = 3s

        [frontend www]
        bind = 127.0.0.1:{port}
        traceparent = make
        pool = app

        [pool app]
        server a = 127.0.0.1:{server.port}
        """


@pytest.mark.parametrize("count", [0, 2])
def test_eachProcessTellsOfItsOwn(tmp_path, count):
    [port] = freePorts(1)
    with Nginx(tmp_path / "server") as nginx, Collector() as collector:
        with Balancer(tmp_path / "lb", text(port, nginx, collector, count)) as balancer:
            balancer.until(lambda: balancer.out.count(" serves") >= count)
            asks(port, 20)
            until(lambda: len(collector.spans) >= 40)
            # What would be told a second later is told at the end as well.
            asks(port, 20)
        found = collector.spans
        assert len(found) == 80
        assert len({one.id for one in found}) == 80
        assert len({one.trace for one in found}) == 40
        processes = {one.resource["process.pid"] for one in found}
        assert len(processes) <= max(count, 1)
        if count:
            assert balancer.pid not in processes
        assert {one.attributes["http.response.status_code"] for one in found} == {200}


def asks(port, times):
    for _ in range(times):
        with urlopen(f"http://127.0.0.1:{port}/name", timeout=10) as response:
            response.read()
