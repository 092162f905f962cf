"""An answer that comes while the client is still sending reaches it, on every reactor."""

import subprocess

import pytest
from loopback import wire

pytestmark = pytest.mark.needs("curl", "nginx")

LARGE = 100 << 20


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 100 MiB that takes no room."""
    path = tmp_path_factory.mktemp("large") / "large"
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


def uploading(url, path, *arguments):
    """curl, on its way; it does not wait for anybody's consent."""
    return subprocess.Popen(
        ["curl", "-sS", "--max-time", "20", "-H", "Expect:", "-T", str(path),
         "-w", "%{http_code}", *arguments, url],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_aBodyThatIsTooLong(balancer, large):
    with uploading(f"http://127.0.0.1:{balancer.ports['small']}/length", large) as asking:
        said, errors = asking.communicate(timeout=20)
    assert "reset" not in errors.lower()
    assert said.endswith("413")
    assert balancer.line("/length").split()[5] == "413"


def test_aBodyInChunksThatIsTooLong(balancer, server, large):
    chunked = ("-H", "Transfer-Encoding: chunked")
    url = f"http://127.0.0.1:{balancer.ports['small']}/chunked"
    with uploading(url, large, *chunked) as asking, wire.accept(server) as connection:
        connection.recv(100)
        said, errors = asking.communicate(timeout=20)
    assert "reset" not in errors.lower()
    assert said.endswith("413")
    assert balancer.line("/chunked").split()[5] == "413"


def test_aServerThatAnswersTooSoon(balancer, server, large):
    """It closes with all the rest unread, which resets its connection to the balancer."""
    url = f"http://127.0.0.1:{balancer.ports['own']}/soon"
    with uploading(url, large) as asking:
        with wire.accept(server) as connection:
            connection.recv(100)
            connection.sendall(
                b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
            )
        said, errors = asking.communicate(timeout=20)
    assert "reset" not in errors.lower()
    assert said == "no403"
    assert balancer.line("/soon").split()[5] == "403"
