"""What programs ask the administration by HTTP, what they change there, and what is said of it."""

import json
import os
import re
from contextlib import suppress

import pytest
from spoken import GET, OK, toldOf
from surfing import POOLS, Site, tokenOf

from lbtwist.admin.history import POINTS
from lbtwist.admin.web.calls import BASE
from lbtwist.admin.web.shapes import SHAPES, wrong
from lbtwist.admin.web.streams import changes
from lbtwist.errors import StartError
from lbtwist.looking import PERIOD

SERVER = "/pools/app/servers/a"


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path) as site:
        yield site


def exchanged(site, server="a", request=GET):
    """A client asks, and is answered by a server: both stay."""
    client = site.balancer.client()
    client.sends(request)
    accepted = site.balancer.server(server).accepts()
    accepted.receives(rb"GET .*")
    accepted.sends(OK)
    client.receives(rb"HTTP/1.1 200 OK.*hi")
    return client, accepted


def fits(value, name):
    """@return: what is wrong with a value, by the description of the API."""

    def whole(shape):
        if isinstance(shape, list):
            return [whole(one) for one in shape]
        if not isinstance(shape, dict):
            return shape
        if "$ref" in shape:
            return whole(SHAPES[shape["$ref"].rpartition("/")[2]])
        return {key: whole(one) for key, one in shape.items()}

    import jsonschema_rs

    return [str(one) for one in jsonschema_rs.validator_for(whole(SHAPES[name])).iter_errors(value)]


# what there is


def test_whoAsks(site):
    assert site.get("/whoami", "operate") == {
        "name": "operate", "scopes": ["read", "operate"], "tokens": True, "by": "token",
        "expires": None,
    }  # fmt: skip
    assert site.get("/whoami", "") == {
        "name": None, "scopes": [], "tokens": True, "by": "nobody", "expires": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/whoami", "Who"), ("/info", "Info"), ("/frontends", "Frontends"),
        ("/frontends/www", "Frontend"), ("/frontends/raw", "Frontend"), ("/pools", "Pools"),
        ("/pools/app", "PoolWithServers"), ("/pools/tcp", "PoolWithServers"),
        (SERVER, "ServerWithChecks"), ("/pools/away/servers/d", "ServerWithChecks"),
        ("/failures", "Failures"), ("/happened", "Events"), ("/history", "History"),
        ("/sessions", "Sessions"), ("/tables", "Tables"), ("/tables/app", "Entries"),
        ("/certificates", "Certificates"), (f"{SERVER}/drain", "Drain"),
    ],
)  # fmt: skip
def test_everythingIsAsItIsDescribed(site, path, name):
    pytest.importorskip("jsonschema_rs")
    exchanged(site)
    site.balancer.client().sends(GET.replace(b"/", b"/no?secret=1", 1))
    site.balancer.client(frontend="raw").sends(b"hello")
    site.balancer.advance(25)
    assert fits(site.get(path, "operate"), name) == []


def test_aServerIsWhatTheSocketSaysOfIt(site):
    exchanged(site)
    found = site.get(SERVER)
    [row] = toldOf(site.balancer, "show stat app 4 1")["value"]
    values = row["values"]
    named = {"total": "stot", "active": "scur", "bytesIn": "bin", "bytesOut": "bout",
             "limit": "slim", "ownWeight": "uweight", "status": "status", "address": "addr"}
    assert {name: found[name] for name in named} == {
        name: values[column] for name, column in named.items()
    }
    assert found["total"] == 1 and found["limit"] == 10
    assert found["responses"]["2xx"] == values["hrsp_2xx"] == 1
    assert found["check"]["status"] == values["check_status"] == "L4OK"
    assert [one["passed"] for one in found["checks"]] == [True] * len(found["checks"]) != []


def test_whatIsNotKnownIsNull(site):
    found = site.get("/pools/tcp/servers/c")
    assert found["limit"] is found["check"] is found["responses"] is found["latency"] is None


def test_failuresTellWhy(site):
    site.balancer.client().sends(GET.replace(b"/", b"/no?secret=1", 1))
    site.balancer.client().sends(b"nonsense\r\n\r\n")
    [last, first] = site.get("/failures", "operate")["failures"]
    assert (first["request"], first["status"]) == ("GET /no?secret=1 HTTP/1.1", 403)
    assert "deny" in first["rule"] and last["status"] == 400
    assert [one["number"] for one in site.get("/failures?limit=1")["failures"]] == [last["number"]]
    assert site.get("/failures?frontend=raw") == {"failures": []}


def test_whoMayOnlyReadDoesNotSeeQueries(site):
    site.balancer.client().sends(GET.replace(b"/", b"/no?secret=1", 1))
    assert "secret" not in json.dumps(site.get("/failures"))


def test_sessionsCanBeEnded(site):
    client, _ = exchanged(site)
    found = site.get("/sessions", "operate")
    [one] = found["sessions"]
    assert (found["total"], one["frontend"], one["client"]) == (1, "www", ["203.0.113.9", 40000])
    path = f"/sessions/{one['id']}"
    assert site.get(path, "operate")["id"] == one["id"]
    assert site.ask("DELETE", path, by="operate").status == 204
    client.isReset()
    assert site.ask("DELETE", path, by="operate").detail == "there is no such session"


@pytest.mark.parametrize("number", ["0", "x", "-1", "9" * 40, "%C2%B2", "1.0"])
def test_aSessionThatIsNone(site, number):
    assert site.ask("GET", f"/sessions/{number}", by="operate").status == 404


def test_tables(site):
    exchanged(site)
    assert site.get("/tables") == {"tables": [{"pool": "app", "used": 1}]}
    [entry] = site.get("/tables/app", "operate")["entries"]
    assert (entry["key"], entry["server"]) == ("203.0.113.9", "a")
    assert site.get("/tables/app?key=192.0.2.1", "operate") == {"entries": []}
    assert site.ask("DELETE", "/tables/app?key=192.0.2.1", by="admin").status == 204
    assert site.get("/tables") == {"tables": [{"pool": "app", "used": 1}]}
    assert site.ask("DELETE", "/tables/app", by="admin").status == 204
    assert site.get("/tables") == {"tables": [{"pool": "app", "used": 0}]}
    assert site.ask("GET", "/tables/tcp", by="admin").detail == "this pool has no table"


def test_explained(site):
    asked = {"request": "GET http://h/no", "frontend": "www", "fields": [["A", "b"]]}
    found = site.ask("POST", "/explain", asked, by="read").value
    assert (found["action"]["what"], found["action"]["status"]) == ("answered", 403)
    assert found["steps"][0]["fields"] == [["Host", "h"], ["A", "b"]]
    assert 'deny if path == "/no"' in found["text"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"request": "nonsense"}, "'nonsense' is no request"),
        ({"request": "GET http://h/", "frontend": "none"}, "none"),
        ({"request": "GET http://h/", "frontend": "www", "src": "x"}, "'x' is not an address"),
        ({"request": "GET http://h/", "fields": [["a", "b\r\nc"]]}, "has the end of a line"),
    ],
)
def test_whatCannotBeExplained(site, body, detail):
    found = site.ask("POST", "/explain", body, by="read")
    assert found.status == 422 and detail in found.detail


# what is changed


def test_state(site):
    found = site.ask("POST", f"{SERVER}/state", {"state": "maint"}, by="operate")
    assert (found.status, found.value["state"]) == (200, "MAINT")
    assert site.server().health.admin == "maint"


def test_weightAndLimit(site):
    assert site.ask("POST", f"{SERVER}/weight", {"weight": 9}, by="operate").value["weight"] == 9
    found = site.ask("POST", f"{SERVER}/maxconn", {"maxconn": 0}, by="operate")
    assert found.value["limit"] is None
    assert (site.server().weight, site.server().maxconn) == (9, 0)


def test_address(site):
    path = "/pools/away/servers/d/address"
    for body, address in (
        ({"address": "127.0.0.2"}, "127.0.0.2:1"),
        ({"address": "127.0.0.3", "port": 81}, "127.0.0.3:81"),
    ):
        found = site.ask("POST", path, body, by="admin")
        assert found.value["address"] == address
    assert "Invalid addr" in site.ask("POST", path, {"address": "x y"}, by="admin").detail


def test_drainAndItsProgress(site):
    client, server = exchanged(site)
    client.sends(GET)
    path = f"{SERVER}/drain"
    found = site.ask("POST", path, by="operate").value
    assert found == {"pool": "app", "server": "a", "state": "DRAIN", "draining": True,
                     "sessions": 1, "bound": 1, "drained": False}  # fmt: skip
    assert site.get(path) == found
    site.ask("DELETE", "/tables/app", by="admin")
    server.sends(OK)
    assert site.get(path)["drained"]
    found = site.ask("DELETE", path, by="operate").value
    assert (found["state"], found["draining"], found["drained"]) == ("UP", False, False)


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/state", {"state": "gone"}, "the body.state is none of ready, drain, maint"),
        ("/state", {"state": 1}, "the body.state is not of type string"),
        ("/state", {}, "the body has no 'state'"),
        ("/state", [], "the body is not of type object"),
        ("/state", {"state": "ready", "x": 1}, "the body has 'x', which is not known"),
        ("/weight", {"weight": 257}, "the body.weight is not from 0 to 256"),
        ("/weight", {"weight": -1}, "the body.weight is not from 0 to 256"),
        ("/weight", {"weight": True}, "the body.weight is not of type integer"),
        ("/weight", {"weight": 1.5}, "the body.weight is not of type integer"),
        ("/address", {"address": ""}, "the body.address has not from 1 to 256 characters"),
        ("/address", {"address": "::1", "port": 0}, "the body.port is not from 1 to 65535"),
    ],
)
def test_bodiesThatMakeNoSense(site, path, body, detail):
    found = site.ask("POST", f"{SERVER}{path}", body, by="admin")
    assert (found.status, found.detail) == (422, detail)
    assert site.audited == []


def test_whatTheBalancerRefuses(site):
    found = site.ask("POST", f"{SERVER}/address", {"address": "127.0.0.1"}, by="admin")
    assert (found.status, found.detail) == (409, "Only an address of TCP can be changed.")
    [line] = site.audited
    assert (line["done"], line["result"]) == (False, found.detail)


def test_verbsOfOthersAreOperations(site):
    """Those that a balancer has, and no others."""
    assert f"{BASE}/plan" in site.door.root.operations
    found = site.ask("POST", "/plan", {"words": []}, by="admin")
    assert found.status == 409 and "path" in found.detail
    assert f"{BASE}/nothing" not in site.door.root.operations


# what is written down


def test_changesAreWrittenDownWhicheverWayTheyCome(site):
    site.ask("POST", f"{SERVER}/weight", {"weight": 9}, by="operate")
    site.balancer.asks("set server app/a state drain; show version; clear counters")
    byToken, bySocket, cleared = site.audited
    assert byToken == {
        "at": byToken["at"], "who": "token operate from 127.0.0.1",
        "what": "set server app/a weight 9", "before": {"weight": 4}, "after": {"weight": 9},
        "result": "done", "done": True,
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", byToken["at"])
    assert re.fullmatch(r"uid \d+ pid \d+", bySocket["who"])
    assert bySocket["before"] == {"state": "UP", "admin": "ready"}
    assert bySocket["after"] == {"state": "DRAIN", "admin": "drain"}
    assert cleared["what"] == "clear counters"


def test_whatIsWrittenDownHasNoLineOfItsOwn(site):
    site.ask("POST", "/pools/away/servers/d/address", {"address": 'x\n{"who": "me"}\x1b[2J'},
             by="admin")  # fmt: skip
    [line] = site.audit.read_text().splitlines()
    assert "\x1b" not in line and json.loads(line)["what"].endswith("[2J")


def test_whatIsOnlyReadIsNotWrittenDown(site):
    for path in ("/pools", SERVER, "/tables/app", "/sessions"):
        site.get(path, "admin")
    assert site.audited == []


def openFiles():
    """@return: the names of the files that this process has open."""
    found = set()
    for one in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{one}"))
    return found


def test_aReloadMovesTheAudit(site, tmp_path):
    moved = site.text.replace(str(site.audit), str(tmp_path / "moved.log"))
    assert moved != site.text
    site.ask("POST", f"{SERVER}/weight", {"weight": 9}, by="operate")
    site.balancer.becomes(moved)
    site.ask("POST", f"{SERVER}/weight", {"weight": 8}, by="operate")
    assert [line["after"] for line in site.audited] == [{"weight": 9}]
    before, site.audit = site.audit, tmp_path / "moved.log"
    assert [line["after"] for line in site.audited] == [{"weight": 8}]
    # Nothing of the old one is left, and a log of the same name is nobody else's end of it.
    logged = moved.replace("bind = ${bind}\n", f"bind = ${{bind}}\nlog = file:{site.audit}\n")
    for text in (logged, moved):
        site.balancer.becomes(text)
        site.ask("POST", f"{SERVER}/weight", {"weight": 8}, by="operate")
        # SIGUSR2 opens it anew, too.
        assert str(site.audit) in {one.path for one in site.running._logs.writers}
    assert len(site.audited) == 3
    assert str(before) not in openFiles()


def test_aReloadThatCannotBeLeavesTheAudit(site, tmp_path):
    moved = site.text.replace(str(site.audit), str(tmp_path / "absent" / "moved.log"))
    with pytest.raises(StartError):
        site.balancer.becomes(moved)
    site.ask("POST", f"{SERVER}/weight", {"weight": 9}, by="operate")
    assert [line["after"] for line in site.audited] == [{"weight": 9}]


def test_aReloadOpensAndClosesIt(site):
    listening = opened(site)
    line = f"web:127.0.0.1:{site.port} "
    site.balancer.becomes(site.text.replace(line, f"{line}metrics=open "))
    listening.takes()
    assert listening.ended
    assert site.ask("HEAD", "//metrics").status == 200
    assert site.get("/history")["at"]
    site.balancer.becomes(re.sub(", web:.*", "", site.text, count=1))
    with pytest.raises(ConnectionRefusedError):
        site.connects()


# what it knows of the last hour


def test_anHourOfHistory(site):
    client, server = exchanged(site)
    # Half of a period, so that what is counted is not counted at its ends.
    site.balancer.advance(5)
    for _ in range(3):
        client.sends(GET)
        server.receives(rb"GET .*")
        site.balancer.advance(0.5)
        server.sends(OK)
        client.receives(rb".*hi")
    site.balancer.advance(15)
    found = site.get("/history")
    assert found["period"] == 10 and len(found["at"]) == 3
    series = found["frontends"]["www"]
    assert series["rate"] == [None, 0.4, 0.0]
    assert series["p50"] == [None, pytest.approx(0.5, 0.04), None]
    assert found["pools"]["app"]["rate"] == series["rate"]
    assert found["pools"]["tcp"]["failed"] == [None, 0.0, 0.0]
    assert site.get("/pools/app")["latency"] is None
    one = site.get("/history?pool=app")
    assert (list(one["pools"]), list(one["frontends"])) == (["app"], [])
    assert site.ask("GET", "/history?pool=none", by="read").status == 404


def test_noMoreThanAnHour(site):
    site.balancer.advance(10 * (POINTS + 5))
    found = site.get("/history?pool=app")
    assert len(found["at"]) == POINTS and found["at"][-1] - found["at"][0] == 3590
    assert found["pools"]["app"]["rate"] == [0.0] * POINTS


def test_whatIsCountedAnewIsNoLess(site):
    exchanged(site)
    site.balancer.advance(10)
    site.balancer.asks("clear counters all")
    site.balancer.advance(10)
    assert site.get("/history")["pools"]["app"]["rate"] == [None, 0.1, 0.0]


def test_latencyOfTheLastTenSeconds(site):
    exchanged(site)
    site.balancer.advance(10)
    assert set(site.get("/pools/app")["latency"]) == {"p50", "p95", "p99"}
    assert {"mean", "p50"} <= set(site.get(SERVER)["latency"])
    site.balancer.advance(10)
    assert site.get("/pools/app")["latency"] is None


# alive, ready


def test_aliveAndReady(site):
    assert site.ask("GET", "//healthz").body == b"alive\n"
    found = site.ask("GET", "//readyz")
    assert (found.status, found.value) == (200, {"ready": True, "draining": False, "missing": []})


def test_notReadyWithoutServers(site):
    for server in ("app/a", "app/b", "away/d"):
        site.balancer.asks(f"set server {server} state maint")
    found = site.ask("GET", "//readyz")
    assert (found.status, found.value["missing"]) == (503, ["app"])
    site.balancer.asks("set server app/a state ready")
    assert site.ask("GET", "//readyz").status == 200


def test_notReadyWhileItDrains(site):
    client, _ = exchanged(site)
    client.sends(GET)
    site.running.drain(30)
    found = site.ask("GET", "//readyz")
    assert (found.status, found.value["draining"]) == (503, True)
    assert site.ask("GET", "//healthz").status == 200


def test_whatIsRequiredWhereNoFrontendNamesAPool(tmp_path):
    pools = POOLS.replace("pool = app\n", "", 1).replace("pool = tcp\n", "connection = pool tcp\n")
    with Site(tmp_path, pools=pools.replace("[pool away]", "[pool away]\n")) as site:
        site.balancer.advance(10)
        assert site.ask("GET", "//readyz").value["missing"] == ["away"]


# events


def opened(site, by="read"):
    connection = site.connects()
    connection.sends(
        f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer"
        f" {tokenOf(by)}\r\n\r\n".encode()
    )
    return connection


def test_theStateAndThenWhatChanges(site):
    site.balancer.advance(10)
    listening = opened(site)
    assert b"Content-Type: text/event-stream\r\n" in listening.takes()
    [whole] = listening.states()
    assert whole["full"] and set(whole["servers"]["app"]) == {"a", "b"}
    assert whole["servers"]["app"]["a"]["weight"] == 4
    site.balancer.asks("set server app/a weight 7")
    site.balancer.advance(PERIOD)
    [_, change] = listening.states()
    assert not change["full"]
    assert change["servers"] == {"app": {"a": {"weight": 7}}}


def test_whereNothingChangesThereIsAHeartbeat(site):
    site.balancer.advance(30)
    listening = opened(site)
    site.balancer.advance(3)
    before = len(listening.takes())
    site.balancer.advance(16)
    assert listening.takes()[before:].startswith(b"3\r\n:\n\n")
    assert not listening.ended


def test_whoComesLaterGetsAllOfIt(site):
    first = opened(site)
    site.balancer.advance(1)
    site.balancer.asks("set server app/a weight 7")
    second = opened(site)
    assert [one["full"] for one in second.states()] == [True]
    assert second.states()[0]["servers"]["app"]["a"]["weight"] == 7
    assert first.states()[-1]["servers"]["app"] == {"a": {"weight": 7}}


def test_notTooManyListen(site):
    listening = [opened(site) for _ in range(32)]
    late = opened(site)
    assert late.answer().status == 503
    listening[0].socket.close()
    site.pump.turn()
    assert opened(site).states()[0]["full"]


def test_whoMayNoMoreHearsNoMore(site):
    listening = opened(site)
    site.file.write_text(f"other {tokenOf('other')} read\n")
    site.balancer.advance(2)
    assert listening.takes().endswith(b"0\r\n\r\n")


def test_whoDoesNotReadIsDropped(site):
    listening = opened(site)
    [stream] = site.door._streams._streams
    stream.pauseProducing()
    site.balancer.advance(5)
    assert len(site.door._streams) == 1
    stream.resumeProducing()
    site.balancer.advance(1)
    assert [one["full"] for one in listening.states()] == [True, True]
    stream.pauseProducing()
    site.balancer.advance(12)
    listening.takes()
    assert listening.ended and len(site.door._streams) == 0


def test_anErrorIsNotTheEndOfEvents(site, monkeypatch):
    listening = opened(site)
    with monkeypatch.context() as broken:
        broken.setattr(site.door._streams, "_server", lambda *_: 1 // 0)
        site.balancer.advance(1)
        [failure] = site.balancer.failures
        assert failure.check(ZeroDivisionError)
        site.balancer.failures.clear()
    site.balancer.asks("set server app/a weight 7")
    site.balancer.advance(1)
    assert listening.states()[-1]["servers"]["app"]["a"] == {"weight": 7}


def test_nobodyListensNothingIsRead(site):
    opened(site).socket.close()
    site.pump.turn()
    assert len(site.door._streams) == 0
    assert site.door._streams._last == {}


# shapes


def test_shapesOfBodies():
    shape = {"type": "array", "items": {"type": "string"}, "maxItems": 2}
    assert wrong(["a"], shape) == ""
    assert wrong(["a", 1], shape) == "the body[1] is not of type string"
    assert wrong(["a"] * 3, shape) == "the body has not from 0 to 2 items"
    assert wrong(None, {"type": ["string", "null"]}) == ""


def test_whatHasChanged():
    before = {
        "process": {"rate": 1, "requests": 5},
        "pools": {"app": {"state": "UP", "latency": {"p50": 1}}, "old": {"state": "UP"}},
        "servers": {"app": {"a": {"state": "UP", "rate": 1}, "b": {"state": "UP"}}, "old": {}},
    }
    after = {
        "process": {"rate": 2, "requests": 5},
        "pools": {"app": {"state": "UP", "latency": None}, "new": {"state": "DOWN"}},
        "servers": {"app": {"a": {"state": "DOWN", "rate": 1}}, "new": {"c": {"state": "UP"}}},
    }
    assert changes(before, after) == {
        "process": {"rate": 2},
        "pools": {"app": {"latency": None}, "new": {"state": "DOWN"}, "old": None},
        "servers": {
            "app": {"a": {"state": "DOWN"}, "b": None}, "new": {"c": {"state": "UP"}}, "old": None,
        },
    }  # fmt: skip
    assert changes(after, after) == {}
