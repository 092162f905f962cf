"""What log-formats write of whole exchanges."""

import json
import re
import ssl

import pytest
from spoken import GET, OK, answered, asks, www
from test_edge import Speaks, clientContext, files  # noqa: F401

from lbtwist.sansio.proxyheader import encodeV1
from lbtwist.testing import Balancer


def test_aLine():
    text = "log-format = %ci:%cp %f %b/%s %ST %{+Q}r %si %bi %HQ|%[host]|%lc %rt"
    with www(frontend=text) as balancer:
        client, server = asks(balancer, b"GET /a?b HTTP/1.1\r\nHost: www.example\r\n\r\n")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        client.sends(GET)
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        assert balancer.lines == [
            '203.0.113.9:40000 www app/a 200 "GET /a?b HTTP/1.1" unix unix ?b|www.example|0 0',
            '203.0.113.9:40000 www app/a 200 "GET / HTTP/1.1" unix unix |h|1 1',
        ]


def test_theTimesOfTwoExchanges():
    """The wait between them is the second one's, and no part of its Ta."""
    with www(frontend="log-format = %Th/%Ti/%TR/%Tq/%Ta/%Tt %HU") as balancer:
        client = balancer.client()
        balancer.advance(1)
        for path in (b"/1", b"/2"):
            client.sends(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
            balancer.advance(0.5)
            if path == b"/1":
                server = balancer.server("a").accepts()
            server.receives(rb"GET .*")
            server.sends(OK)
            client.receives(rb"HTTP/1.1 200 .*")
            balancer.advance(3)
        first, second = balancer.lines
        assert re.fullmatch(r"0/10[0-9]{2}/0/10[0-9]{2}/5[0-9]{2}/15[0-9]{2} /1", first)
        assert re.fullmatch(r"0/30[0-9]{2}/0/30[0-9]{2}/5[0-9]{2}/35[0-9]{2} /2", second)


def test_whatConnectionRulesKeep():
    """It is there for each exchange, without any rule for requests."""
    text = 'connection = set-var from {src}\nlog-format = %HU %[var["from"]]'
    with www(frontend=text) as balancer:
        client, server = asks(balancer)
        for _ in range(2):
            server.sends(OK)
            client.receives(rb"HTTP/1.1 200 .*")
            client.sends(GET)
        assert balancer.lines == ["/ 203.0.113.9", "/ 203.0.113.9"]


def test_captures():
    """In the order of the rules, and cut where they say; what has not come is empty."""
    rules = """
log-format = %hr %hs %{+Q}hrl
request =
    capture agent 'header["user-agent"]' len=4
    capture host host
response =
    capture location 'response_header["location"]' len=31
    capture cookie 'response_header["set-cookie"]' len=32
"""
    with www(frontend=rules, pool="""request = capture late "'x|y'" """) as balancer:
        client, server = asks(
            balancer, b'GET / HTTP/1.1\r\nHost: H\r\nUser-Agent: "{me}"\r\n\r\n'
        )
        server.sends(
            b"HTTP/1.1 302 Found\r\nLocation: http://www.domain.com/login.jsp?and=more\r\n"
            b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        )
        client.receives(rb"HTTP/1.1 302 .*")
        client.sends(b"nonsense\r\n\r\n")
        client.receives(rb"HTTP/1.1 400 .*")
        assert balancer.lines == [
            '{#22#7Bme|h|x#7Cy} {http://www.domain.com/login.jsp|b=2} "#22#7Bme" "h" "x#7Cy"',
            '{||} {|} "" "" ""',
        ]


def test_theHTTPFormatHasTheCapturesToo():
    rules = '''request = capture agent 'header["user-agent"]' '''
    with www(frontend=rules, log="http") as balancer:
        client, server = asks(balancer)
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        assert balancer.endings[0].endswith(' 0/0 {} "GET / HTTP/1.1"')


def test_noLineWhereARuleWantsNone():
    with www(frontend='request = set-log no if path == "/health"') as balancer:
        client, server = asks(balancer, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        client.sends(GET)
        server.receives(rb"GET / .*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        [line] = balancer.lines
        assert '"GET / HTTP/1.1"' in line
        assert balancer.running.frontend("www").inbound.traffic.exchanges == 2


def test_theRuleThatDecidedAndWhyNothingIsParsed():
    rules = 'request =\n    set-path /b\n    deny if method == "PUT"\n    tunnel if path == "/b"\n'
    with www(frontend=rules, log="json") as balancer:
        client, server = asks(balancer, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        client.closes()
        server.closes()
        client = balancer.client()
        client.sends(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        client.receives(rb"HTTP/1.1 403 .*")
        found = {one["method"]: one for one in map(json.loads, balancer.lines)}
        assert found["GET"]["passthrough"] == "iRule"
        assert found["PUT"]["passthrough"] is None
        lines = [re.fullmatch(r"lb.ini:(\d+)", found[one]["rule"])[1] for one in ("PUT", "GET")]
        assert int(lines[1]) == int(lines[0]) + 1
        # As it came, not as a rule has made it.
        assert found["GET"]["target"] == "/a"


def test_theLineOfAWebServerBehindAProxyHeader():
    text = """
[frontend www]
bind = ${bind} accept-proxy
log = ${log} format=clf_proxy
pool = app
[pool app]
server a = ${a}
"""
    with Balancer(text, "a") as balancer:
        client = balancer.client("192.0.2.200", 1)
        client.sends(
            encodeV1(("203.0.113.9", 40000), ("192.0.2.1", 80))
            + b"GET /a HTTP/1.1\r\nHost: h\r\nReferer: http://r/\r\nUser-Agent: me\r\n\r\n"
        )
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        size = len(client.receives(rb"HTTP/1.1 200 .*")[0])
        [line] = balancer.lines
        assert re.fullmatch(
            r'203\.0\.113\.9 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /a HTTP/1\.1"'
            rf' 200 {size} "http://r/" "me"',
            line,
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_theVersionOfTLS(files, version):  # noqa: F811
    text = f"""
[tls site]
certificate = {files}/site.pem
[frontend www]
bind = ${{bind}} tls=site
log = ${{log}}
log-format = %ft %sslv %[tls.sni] %{{+Q}}sslc
pool = app
[pool app]
server a = ${{a}}
"""
    with Balancer(text, "a") as balancer:
        context = clientContext()
        context.minimum_version = context.maximum_version = version
        client = Speaks(balancer.client(), context).shakes()
        client.sends(GET)
        server = balancer.server("a").accepts()
        server.receives(rb"GET .*")
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        name = version.name.replace("_", ".")
        assert re.fullmatch(rf'www~ {name} site\.test "[A-Z0-9_-]+"', balancer.lines[0])


def test_aSession():
    text = "log-format = %ci %ft %b/%s %bi %Tw/%Tc/%Tt %B %U %ts %OG"
    with www(frontend=text, mode="tcp") as balancer:
        client = balancer.client()
        server = balancer.server("a").accepts()
        client.sends(b"abc")
        server.receivesExactly(b"abc")
        server.sends(b"defgh")
        client.receivesExactly(b"defgh")
        client.closes()
        server.isEnded()
        server.closes()
        assert re.fullmatch(
            r"203\.0\.113\.9 www app/a unix 0/0/\d+ 5 3 -- txn_close", balancer.lines[0]
        )


def test_whereTheClientWantedToGo():
    """As the PROXY header has it."""
    text = """
[frontend www]
bind = ${bind} accept-proxy
log = ${log}
log-format = %fi:%fp %[dst]:%[dst_port]
request = answer 200
"""
    with Balancer(text) as balancer:
        client = balancer.client()
        client.sends(encodeV1(("2001:db8::9", 40000), ("2001:db8::1", 80)) + GET)
        client.receives(rb"HTTP/1.1 200 .*")
        assert balancer.lines == ["2001:db8::1:80 2001:db8::1:80"]


def test_severalTargets():
    """Only those that say nothing else have the frontend's own format."""
    text = "log-format = own %ST\nlog =\n    ${log}\n    ${log} format=http\n"
    config = f"""
[frontend www]
bind = ${{bind}}
pool = app
{text}
[pool app]
server a = ${{a}}
"""
    with Balancer(config, "a") as balancer:
        answered(balancer)
        own, usual = balancer.lines
        assert own == "own 200"
        assert usual.endswith(' 0/0 "GET / HTTP/1.1"')
