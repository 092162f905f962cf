"""A second opinion on log-formats: haproxy's own lines of the same requests."""

import re

import pytest
from loopback.running import Balancer, Haproxy, freePorts, run

pytestmark = pytest.mark.needs("curl", "haproxy")

HAPROXY = """\
global
    maxconn 100
    log stdout format raw local0
defaults
    mode http
    log global
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend www
    bind 127.0.0.1:{port}
    capture request header User-Agent len 6
    capture request header X-None len 8
    capture response header Content-Type len 7
    log-format "{format}"
    default_backend app
backend app
    server one 127.0.0.1:{server}
"""

LBTWIST = """\
[frontend behind]
bind = 127.0.0.1:{server}
pool = behind
[pool behind]
server one = demo:one
[frontend www]
bind = 127.0.0.1:{port}
log = file:access.log
log-format = '{format}'
request =
    capture agent 'header["user-agent"]' len=6
    capture none 'header["x-none"]' len=8
response = capture kind 'response_header["content-type"]' len=7
pool = app
[pool app]
server one = 127.0.0.1:{server}
"""

# What has to be the same, whatever the ports and the times are.
SAME = (
    "%ci %fi %si %bi %{+X}ci %{+Q}ci %f %ft %b %s %{+Q}ft %{+Q}b %ST %CC %{+Q}CS %ts %tsc %rc %sq"
    " %bq %{+Q}r %HM %HU %HP %HPO %{+Q}HQ %HV %{+E}r %{+Q,+E}HU %ID %{+Q}ID %sslv %{+Q}sslc %H %lc"
    " %fc %%"
).split()
# How the rest has to look like.
DATE = r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d"
ALIKE = {
    **dict.fromkeys(("%cp", "%fp", "%sp", "%bp", "%B", "%U", "%pid", "%rt", "%ac"), r"\d+"),
    **dict.fromkeys(("%{+X}cp", "%{+X}sp", "%{+X}pid", "%{+X}lc", "%{+X}rt"), "[0-9A-F]{4}"),
    **dict.fromkeys(("%t", "%tr"), DATE + r"\.\d{3}"),
    **dict.fromkeys(("%T", "%Tl", "%trg", "%trl"), DATE + r" [+-]\d{4}"),
    "%Ts": r"\d{10}", "%{+X}Ts": "[0-9A-F]{8}", "%ms": r"\d{3}", "%{+X}ms": "[0-9A-F]{2,3}",
    **dict.fromkeys("%Th %Ti %TR %Tq %Tw %Tc %Tr %Td %Ta %Tt %Tu".split(), r"\d+"),
    **dict.fromkeys(("%bc", "%sc"), "[01]"),
}  # fmt: skip
# Between bars; what captures print has bars of its own.
CAPTURES = "%hr %hs %hrl %hsl %{+Q}hr %{+Q}hrl %{+E}hr"

REQUESTS = [
    ["-A", "agent", "/a/b?c=d"],
    ["-A", '"{a|b}\\]#x', "/x%20y", "-X", "POST", "-d", "abc"],
    ["-A", "é", '/q"uoted[]?'],
    ["-H", "User-Agent:", "/", "-I"],
]


def logged(tmp_path, form, requests):
    """@return: the lines of haproxy and ours, of these requests."""
    theirs, ours, behind = freePorts(3)
    with (
        Balancer(tmp_path / "us", LBTWIST.format(port=ours, server=behind, format=form)) as us,
        Haproxy(
            tmp_path / "them", theirs, HAPROXY.format(
                port=theirs, server=behind, format=form.replace('"', '\\"')
            )
        ) as them,
    ):  # fmt: skip
        for request in requests:
            for port in (theirs, ours):
                path = next(one for one in request if one.startswith("/"))
                others = [one for one in request if one != path]
                done = run(
                    "curl", "-sS", "-g", "--path-as-is", "--max-time", 10, *others,
                    f"http://127.0.0.1:{port}{path}",
                )  # fmt: skip
                assert done.returncode == 0, done.stderr
        log = tmp_path / "us" / "access.log"
        us.until(lambda: log.exists() and log.read_text().count("\n") == len(requests))
        them.until(lambda: them.out.count("<>") == len(requests))
        return (
            [line for line in them.out.splitlines() if line.endswith("<>")],
            log.read_text().splitlines(),
        )


def test_everyItemIsHaproxys(tmp_path):
    items = [*SAME, *ALIKE]
    theirs, ours = logged(tmp_path, "|".join([*items, "<>"]), REQUESTS)
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        assert len(their.split("|")) == len(our.split("|")) == len(items) + 1
        for item, one, other in zip(items, their.split("|"), our.split("|"), strict=False):
            if item in ALIKE:
                for value in (one, other):
                    assert re.fullmatch(ALIKE[item], value), f"{item} is {value!r}"
            else:
                assert one == other, f"{item} of request {number}"


def test_capturesAreHaproxys(tmp_path):
    theirs, ours = logged(tmp_path, f"{CAPTURES} x %{{+Q}}r <>", REQUESTS)
    assert ours == theirs


def test_spacesAreHaproxys(tmp_path):
    theirs, ours = logged(tmp_path, "  %ST   %ST%CC  [ %{+Q}HQ ]  %%  <>", REQUESTS[:1])
    assert ours == [theirs[0]]
