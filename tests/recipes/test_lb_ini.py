"""C{etc/lb.ini}: started as it is, and used."""

import re

import pytest
from loopback import wire
from loopback.running import ROOT, TWISTD, Child, environment, freePorts, run

FORM = re.compile(
    r'^127\.0\.0\.1:\d+ \[[^]]+\] www app/(one|two) [\d/+-]+ 200 \d+ - - ---- [\d/]+ 0/0 '
    r'"GET /hello HTTP/1\.1"$',
    re.M,
)


def free(port):
    """Whether all of this machine's addresses have a port."""
    try:
        wire.listening(("0.0.0.0", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture
def recipe(tmp_path):
    """The configuration's path and its ports: other ones only where somebody has them."""
    path = ROOT / "etc/lb.ini"
    ports = {"8080": 8080, "8081": 8081, "8404": 8404}
    if not all(map(free, ports.values())):
        ports = dict(zip(ports, freePorts(3), strict=True))
        text = path.read_text()
        for port, other in ports.items():
            text = text.replace(f":{port}\n", f":{other}\n")
        path = tmp_path / "lb.ini"
        path.write_text(text)
    return path, *ports.values()


def asks(port):
    """@return: the body of the answer to a request."""
    with wire.connect(port) as client:
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n")
        head, body, _ = wire.readResponse(client)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    return body.decode()


def test_itIsValid():
    done = run(
        TWISTD, "lbtwist", "--config", ROOT / "etc/lb.ini", "--check", env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Configuration file is valid\n", "")


def test_itServes(recipe, tmp_path):
    path, www, raw, page = recipe
    command = [TWISTD, "--reactor", "lbtwist", "-n", "--pidfile=", "lbtwist", "--config", str(path)]
    with Child(command, tmp_path, "lbtwist", env=environment()) as child:
        child.until(lambda: child.out.count(" listens on ") == 2)
        answers = [asks(www) for _ in range(4)]
        for name in ("one", "two"):
            assert sum(f"demonstration server {name}." in answer for answer in answers) == 2
        assert all("X-Forwarded-For: 127.0.0.1\n" in answer for answer in answers)

        shown = run("curl", "-sf", f"http://127.0.0.1:{page}/")
        assert "<title>" in shown.stdout

        answer = asks(raw)
        assert "demonstration server" in answer
        assert "X-Forwarded-For" not in answer

        child.until(lambda: len(FORM.findall(child.out)) == 4)
        child.until(lambda: re.search(r"^127\.0\.0\.1:\d+ \[[^]]+\] raw app/\w+ ", child.out, re.M))
        assert child.terminate() == 0
    assert "Traceback" not in child.out + child.err
    assert "DOWN" not in child.out
