"""HTTP as curl and nginx speak it, through lbtwist, on every reactor."""

import os
import re
import subprocess

import pytest
from loopback import wire
from loopback.running import run

pytestmark = pytest.mark.needs("curl", "nginx")

SMALL = "twenty-six bytes of nginx\n"
LARGE = 20 << 20


def curl(*arguments, **options):
    done = run("curl", "-sS", "--max-time", 20, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fields(head):
    """The fields of a head that do not depend on the moment, in lower case."""
    lines = head.replace("\r", "").strip().lower().splitlines()
    return [line for line in lines if not line.startswith(("date:", "connection:"))]


def test_getIsTheSameAsWithoutABalancer(balancer, nginx):
    through = curl("-i", f"{balancer.url}/files/small")
    direct = curl("-i", f"http://127.0.0.1:{nginx.port}/files/small")
    assert through.endswith(SMALL)
    assert fields(through) == fields(direct)


def test_headIsTheSameAsWithoutABalancer(balancer, nginx):
    through = curl("--head", f"{balancer.url}/files/small")
    direct = curl("--head", f"http://127.0.0.1:{nginx.port}/files/small")
    assert "content-length: 26" in fields(through)
    assert fields(through) == fields(direct)


def test_http10(balancer):
    answer = curl("--http1.0", "-i", f"{balancer.url}/files/small")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert "\r\nConnection: close\r\n" in answer
    assert answer.endswith(SMALL)


def test_oneConnectionServesSeveralRequests(balancer):
    seen = curl(
        *["-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null"] * 3,
        *[f"{balancer.url}/files/small"] * 3,
    )
    assert seen.split("\n")[:3] == ["200 1", "200 0", "200 0"]


def test_noContentAndNotModified(balancer):
    url = f"{balancer.url}/files/small"
    tag = re.search(r'^ETag: ("[^"]+")\r$', curl("--head", url), re.M)[1]
    form = "%{http_code} %{num_connects} %{size_download}\n"
    # All on one connection: neither 304 nor 204 has a body that could be waited for.
    seen = curl(
        "-H", f"If-None-Match: {tag}", "-w", form,
        url, url, f"{balancer.url}/nothing",
    )  # fmt: skip
    assert seen.splitlines() == ["304 1 0", "304 0 0", "204 0 0"]


def test_ranges(balancer):
    url = f"{balancer.url}/files/small"
    assert curl("-r", "7-9", url) == SMALL[7:10]
    several = curl("-i", "-r", "0-2,20-", url)
    assert several.startswith("HTTP/1.1 206 ")
    assert "multipart/byteranges" in several
    assert several.count("Content-Range: bytes ") == 2
    assert curl("-o", "/dev/null", "-w", "%{http_code}", "-r", "100-", url) == "416"


def test_postReachesTheServer(balancer, server):
    url = f"http://127.0.0.1:{balancer.ports['own']}/form?a=b"
    command = ["curl", "-sS", "--max-time", "20", "-d", "key=value", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        connection = wire.accept(server)
        request = wire.readUntil(connection, b"\r\n\r\nkey=value")
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndone")
        answer, _ = asking.communicate(timeout=20)
        connection.close()
    assert request.startswith(b"POST /form?a=b HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 9\r\n" in request
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in request
    assert answer == "done"
    assert balancer.line('"POST /form').split()[5:7] == ["201", "47"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_aLargeUploadWaitsForContinue(balancer, nginx, tmp_path, framing):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(LARGE))
    name = f"{balancer.reactor}-{framing}"
    url = f"{balancer.url}/files/{name}"
    if framing == "length":
        done = run("curl", "-sS", "-v", "--max-time", 20, "-T", source, url)
    else:
        with source.open("rb") as stdin:
            done = run("curl", "-sS", "-v", "--max-time", 20, "-T", "-", url, stdin=stdin)
    said = done.stderr
    assert done.returncode == 0, said
    assert "> Expect: 100-continue" in said
    assert ("> Transfer-Encoding: chunked" in said) == (framing == "chunked")
    assert said.index("< HTTP/1.1 100 Continue") < said.index("< HTTP/1.1 201 Created")
    stored = nginx.files / name
    assert wire.digest(stored.read_bytes()) == wire.digest(source.read_bytes())

    copy = tmp_path / "copy"
    assert curl("-o", copy, "-w", "%{http_code}", url) == "200"
    assert wire.digest(copy.read_bytes()) == wire.digest(source.read_bytes())
    assert curl("-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", url) == "204"
    assert not stored.exists()


def test_aConnectTunnel(balancer, server):
    """C{connect = forward}: what the server agrees to becomes a tunnel."""
    command = [
        "curl", "-sS", "--max-time", "20", "--proxytunnel",
        "--proxy", f"http://127.0.0.1:{balancer.ports['open']}", "http://inside.test/tunnel",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        connection = wire.accept(server)
        assert wire.readHead(connection).startswith(b"CONNECT inside.test:80 HTTP/1.1\r\n")
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        assert wire.readHead(connection).startswith(b"GET /tunnel HTTP/1.1\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ninside")
        answer, _ = asking.communicate(timeout=20)
        connection.close()
    assert answer == "inside"
