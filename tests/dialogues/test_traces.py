"""What a server is told of the trace that a request belongs to, and what the log says of it."""

import json
import re

import pytest
from spoken import OK, www

from lbtwist.explaining import asking, explain

ID = "0af7651916cd43dd8448eb211c80319c"
GIVEN = f"00-{ID}-b7ad6b7169203331-01"
TRUSTED = "trusted-proxies = 203.0.113.0/24"


def passed(how, *lines, more="", log="json"):
    """
    @param lines: fields of a request.
    @return: C{traceparent} and C{tracestate} as the server gets them, and the lines of the log.
    """
    with www(frontend=f"{how}\n{more}", log=log) as balancer:
        client = balancer.client()
        fields = "".join(f"{line}\r\n" for line in lines)
        client.sends(f"GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
        server = balancer.server("a").accepts()
        text = server.receives(rb"(.*)")[1].decode()
        server.sends(OK)
        client.receives(rb"HTTP/1.1 200 .*")
        found = re.findall(r"(?im)^(traceparent|tracestate): (.*?)\r$", text)
        return {name.lower(): value for name, value in found}, balancer.lines


def fields(*asked, **more):
    found, _ = passed(*asked, **more)
    return found


def test_offIsNotLookedAt():
    found, [line] = passed("", "Traceparent: rubbish", "tracestate: a=1")
    assert found == {"traceparent": "rubbish", "tracestate": "a=1"}
    assert (json.loads(line)["trace_id"], json.loads(line)["span_id"]) == (None, None)


@pytest.mark.parametrize("how", ["forward", "make"])
def test_whatIsAcceptablePasses(how):
    found, [line] = passed(
        f"traceparent = {how}", f"Traceparent: {GIVEN}", "TraceState: a=1", "tracestate: b=2"
    )
    assert found == {"traceparent": GIVEN, "tracestate": "a=1,b=2"}
    told = json.loads(line)
    assert (told["trace_id"], told["span_id"]) == (ID, "b7ad6b7169203331")


def test_forwardMakesNothing():
    assert fields("traceparent = forward") == {}
    assert fields("traceparent = forward", "traceparent: rubbish", "tracestate: a=1") == {}
    assert fields("traceparent = forward", "tracestate: a=1") == {}


@pytest.mark.parametrize("given", [(), ("traceparent: rubbish",), ("tracestate: a=1",)])
def test_makeMakesWhatIsMissingOrNotAcceptable(given):
    found, [line] = passed("traceparent = make", *given)
    assert [*found] == ["traceparent"]
    version, trace, span, flags = found["traceparent"].split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    told = json.loads(line)
    assert (told["trace_id"], told["span_id"]) == (trace, span)


def test_eachRequestHasItsOwn():
    with www(frontend="traceparent = make") as balancer:
        client = balancer.client()
        seen = []
        server = None
        for _ in range(3):
            client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            server = server or balancer.server("a").accepts()
            seen.append(server.receives(rb".*traceparent: (\S+)\r\n.*")[1])
            server.sends(OK)
            client.receives(rb"HTTP/1.1 200 .*")
    assert len(set(seen)) == 3


def test_aStateThatIsNotAcceptableDoesNotPass():
    given = (f"traceparent: {GIVEN}", "tracestate: A=1")
    assert fields("traceparent = make", *given) == {"traceparent": GIVEN}


def test_aLaterVersionPassesAsVersion00():
    later = f"traceparent: 42{GIVEN[2:]}-more"
    assert fields("traceparent = forward", later) == {"traceparent": GIVEN}


def test_restartBelievesTrustedProxiesAlone():
    given = (f"traceparent: {GIVEN}", "tracestate: a=1")
    found = fields("traceparent = restart", *given)
    assert [*found] == ["traceparent"]
    assert ID not in found["traceparent"]
    found = fields("traceparent = restart", *given, more=TRUSTED)
    assert found == {"traceparent": GIVEN, "tracestate": "a=1"}


def test_sampling():
    for sampling, flags in ((0, "00"), (100, "01")):
        found = fields("traceparent = make", more=f"traceparent-sampling = {sampling}")
        assert found["traceparent"].endswith(f"-{flags}")


def test_itIsInALogOfOnesOwn():
    _, [line] = passed(
        "traceparent = make\nlog-format = %trace/%span %ST", f"traceparent: {GIVEN}", log="auto"
    )
    assert line == f"{ID}/b7ad6b7169203331 200"


def test_itIsExplained():
    with www(frontend="traceparent = make") as balancer:
        said = explain(balancer.running, asking("GET http://h/"), "www")
        [step] = said.of("departure")
        [line] = [one for one in step["fields"] if one["name"] == "traceparent"]
        assert (line["change"], line["value"]) == ("+", f"00-{'01' * 16}-{'01' * 8}-01")


def test_anAnswerOfOurOwnHasNoTrace():
    with www(frontend="traceparent = make\nrequest = deny", log="json") as balancer:
        client = balancer.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.receives(rb"HTTP/1.1 403 .*")
        [line] = balancer.lines
    assert json.loads(line)["trace_id"] is None
