"""
What C{lbtwist explain} says of a request is what a balancer then does, and it moves nothing:
tried with requests at random over one configuration that has most of what there is.
"""

import contextlib
import json

import attr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_explaining import built

from lbtwist.explaining import asking, explain
from lbtwist.explaining.words import asText
from lbtwist.testing import Balancer

RICH = """
[conditions]
inside = src in net("10.0.0.0/8")

[frontend www]
bind = ${bind} accept-proxy
mode = http
pool = app
log = off
forwarded = both
via = lb
max-body = 100
connection =
    reject              if src in net("198.51.100.0/24")
    set-var seen        "str(src)"
request =
    deny 404            if path.startswith("/deny") and not inside
    close               if path == "/close"
    silent-drop         if query["drop"] == "1"
    limit rate=2/10s by={path}      if path.startswith("/limit")
    deny 403            if rate(path, "10s") > 2
    redirect https      if header["x-up"] and not tls
    answer 200 "{path}" if method == "OPTIONS"
    set-header X-Seen   "{var[\\"seen\\"]}{uri}"
    set-path /new{path} if path.startswith("/old")
    proxy-pass /mirror/ http://backend.example/in/
    server b            if cookie["server"] == "b"
    pool hashed         if path.normal.startswith("/hash")
    pool turns          if host == "turns.example"
    pool none           if path == "/none"
response =
    set-header X-Done yes

[pool app]
http-reuse = never
balance = leastconn
request =
    deny 400            if "x-bad" in header
    pool hashed         if header["x-pool"] == "hashed"
server a = ${a}
server b = ${b} weight=2

[pool hashed]
http-reuse = never
balance = hash X-User
server c = ${c}
server d = ${d}

[pool turns]
http-reuse = never
balance = roundrobin
server e = ${e}
server f = ${f} weight=3

[pool none]
server g = ${a} weight=0
"""
SERVERS = "abcdef"
PORT = 40000

paths = st.sampled_from(
    ["/", "/deny/x", "/close", "/limit", "/old/a%2Fb", "/mirror/x", "/hash", "//hash", "/none",
     "/mirror/%2e%2e/x"]
)  # fmt: skip
queries = st.sampled_from(["", "?drop=1", "?a=b&a=c", "?", "?%ff"])
hosts = st.sampled_from(["h.example", "turns.example", "Turns.Example.:80", "[::1]"])
fields = st.lists(
    st.sampled_from(
        [("X-Up", "1"), ("X-Bad", ""), ("X-Pool", "hashed"), ("X-User", "alice"), ("x-user", "bob"),
         ("Cookie", "server=b"), ("X-Forwarded-For", "1.2.3.4"), ("X-Seen", "forged"),
         ("Connection", "X-User"), ("Accept", "a\\xff"), ("Content-Length", "0"),
         ("Content-Length", "101")]
    ),
    max_size=4, unique_by=lambda field: field[0].lower(),
)  # fmt: skip
sources = st.sampled_from(["203.0.113.9", "10.1.2.3", "198.51.100.1", "2001:db8::1"])
methods = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "x", "DELETE"])
requests = st.tuples(methods, hosts, paths, queries, fields, sources)


def asRequest(method, host, path, query, headers, source):
    destination = "[2001:db8::80]:80" if ":" in source else "192.0.2.80:80"
    src = f"[{source}]:1234" if ":" in source else f"{source}:1234"
    return asking(
        f"{method} http://{host}{path}{query}", fields=headers, proxied=f"{src} {destination}"
    )


def proxyLine(header):
    (host, port), (here, herePort) = header.source, header.destination
    family = "TCP6" if ":" in host else "TCP4"
    return f"PROXY {family} {host} {here} {port} {herePort}\r\n".encode()


def happens(balancer, asked):
    """@return: what becomes of a request, and what the server got of it."""
    client = balancer.client(port=PORT)
    client.sends(proxyLine(asked.proxied) + asked.encode())
    for name in SERVERS:
        with contextlib.suppress(AssertionError):
            server = balancer.server(name).accepts()
            got = server.receives(rb"(.*?)\r\n(.*)\r\n\r\n.*")
            server.sends(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            client.receives(rb"HTTP/1.1 204 .*X-Done: yes.*")
            client.closes()
            return "sent", name, 0, got
    for what, look in (("reset", client.isReset), ("closed", client.isEnded)):
        with contextlib.suppress(AssertionError):
            look()
            return what, "", 0, None
    got = client.receives(rb"HTTP/1.1 ([0-9]{3}) .*")
    client.closes()
    return "answered", "", int(got[1]), None


def departs(said):
    """@return: the head of the request as it was said to leave."""
    [step] = said.of("departure")
    line = f"{step['method']['after']} {step['target']['after']} HTTP/1.1"
    kept = [one for one in step["fields"] if one["change"] != "-"]
    return line.encode(), "\r\n".join(f"{one['name']}: {one['value']}" for one in kept).encode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests, min_size=1, max_size=8), st.sets(st.sampled_from(SERVERS), max_size=2))
def test_whatItSaysIsWhatItDoes(asked, down):
    with Balancer(RICH, *SERVERS) as balancer:
        running = balancer.running
        for pool in running.pools.values():
            for server in pool.servers:
                server.health.up = server.name not in down
            pool.serversChanged()
        for one in (asRequest(*request) for request in asked):
            said = explain(running, one, "www")
            assert attr.asdict(explain(running, one, "www")) == attr.asdict(said)
            json.loads(said.asJSON())
            assert asText(said)
            what, server, status, got = happens(balancer, one)
            action = said.action
            # In memory there is nobody who could be kept from hearing of it.
            assert {"dropped": "reset"}.get(action.what, action.what) == what
            assert action.server == server
            if what == "answered":
                assert action.status == status
            if got is not None:
                assert (got[1], got[2]) == departs(said)


tokens = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=20)
visible = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\0"), max_size=40
)


@settings(max_examples=200)
@given(
    tokens, hosts, st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60),
    st.lists(st.tuples(tokens, visible), max_size=6), sources,
)  # fmt: skip
def test_whateverIsAsked(method, host, path, headers, source):
    balancer = test_whateverIsAsked.balancer
    try:
        asked = asking(f"{method} http://{host}/{path}", source, fields=headers)
    except ValueError:
        return
    said = explain(balancer, asked, "www")
    assert said.action.what
    assert asText(said).isprintable() or "\n" in asText(said)
    assert json.loads(said.asJSON())["action"]["text"] == said.action.text


test_whateverIsAsked.balancer = built(
    RICH.replace("${bind} accept-proxy", ":80").replace("${", "unix:/none/").replace("}\n", "\n")
)


# what is counted


def test_explainingCountsNothing():
    rules = """
request =
    limit rate=1/10s by={path}
    limit concurrency=1 by={path}
    deny 403 if rate(path, "10s") > 1
    deny 404 if connections(path) > 1
"""
    text = f"[frontend www]\nbind = ${{bind}}\npool = app\n{rules}[pool app]\nserver a = ${{a}}\n"
    with Balancer(text, "a") as balancer:
        asked = asking("GET http://h/x")

        def said():
            return explain(balancer.running, asked, "www")

        assert {said().action.what for _ in range(3)} == {"sent"}
        client = balancer.client()
        client.sends(asked.encode())
        server = balancer.server("a").accepts()
        assert [said().action.status for _ in range(3)] == [429] * 3
        server.sends(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.receives(rb"HTTP/1.1 204 .*")
        client.closes()
        balancer.advance(20.0)
        assert {said().action.what for _ in range(3)} == {"sent"}
