"""What programs add, take away and replace by HTTP, and who may; nothing of a key comes back."""

import json

import pytest
from authority import Authority
from surfing import POOLS, Site

AUTHORITY = Authority()


@pytest.fixture
def site(tmp_path, threads):
    (tmp_path / "who.map").write_text("/a ann\n")
    (tmp_path / "bad.lst").write_text("198.51.100.7\n")
    AUTHORITY.issue("site.test").write(tmp_path / "site.pem")
    pools = POOLS.replace('deny if path == "/no"', '\n    deny if path == "/no"')
    pools = pools.replace("[frontend raw]", (
        f'    answer 200 {{map("{tmp_path}/who.map", path, "nobody")}} if path != "/no"\n'
        "[frontend secure]\n"
        "bind = ${bind}.tls tls=site\n"
        "pool = app\n"
        f'request = deny if src in net("@{tmp_path}/bad.lst")\n'
        "[frontend raw]"
    ))  # fmt: skip
    with Site(tmp_path, pools=f"\n[tls site]\ncertificate = {tmp_path}/site.pem{pools}") as site:
        yield site


def changes(site, method, path, body=None, status=200, by="admin"):
    """@return: what is answered."""
    found = site.ask(method, path, body, by=by)
    assert found.status == status, found
    return found.value if status == 200 else found.detail


# servers, pools, frontends


def test_aServer(site):
    path = "/pools/app/servers/new"
    words = {"words": ["127.0.0.1:9", "weight", "7", "enabled"]}
    assert changes(site, "POST", path, words)["text"] == "New server registered."
    found = site.get(path)
    assert (found["address"], found["ownWeight"], found["admin"]) == ("127.0.0.1:9", 7, "ready")
    assert "in maintenance mode" in changes(site, "DELETE", path, status=409)
    changes(site, "POST", f"{path}/state", {"state": "maint"})
    assert changes(site, "DELETE", path)["value"]["changes"]
    site.balancer.advance(1)
    changes(site, "GET", path, status=404)


def test_aServerIsTakenAwayWhileItWorks(site):
    assert changes(site, "DELETE", "/pools/app/servers/b?force=no", status=400)
    changes(site, "DELETE", "/pools/app/servers/b?force=yes")
    site.balancer.advance(1)
    assert [one["name"] for one in site.get("/pools/app")["members"]] == ["a"]


def test_aPoolAndAFrontend(site):
    changes(site, "POST", "/pools/fresh", {"words": ["like", "app", "balance", "leastconn"]})
    assert site.get("/pools/fresh")["balance"] == "leastconn"
    [bind] = site.get("/frontends/www")["binds"]
    words = {"words": [f"bind={bind}.new", "pool=fresh"]}
    changes(site, "POST", "/frontends/fresh", words)
    assert site.get("/frontends/fresh")["state"] == "OPEN"
    assert "frontend fresh" in changes(site, "DELETE", "/pools/fresh", status=409)
    another = f"/frontends/fresh/binds/{bind.replace('/', '%2F')}.more"
    changes(site, "POST", another)
    assert len(site.get("/frontends/fresh")["binds"]) == 2
    changes(site, "DELETE", another)
    assert len(site.get("/frontends/fresh")["binds"]) == 1
    changes(site, "DELETE", "/frontends/fresh")
    changes(site, "DELETE", "/pools/fresh")
    for path in ("/frontends/fresh", "/pools/fresh", "/pools/fresh/servers/a"):
        changes(site, "DELETE", path, status=404)


def test_aNameIsOneWord(site):
    """Whatever is in it, it is no other command, and no option."""
    for name in ("x%20like%20app", "x%0A[pool%20y]", "x%20%3C%3C", "%7Bpool%7D"):
        changes(site, "POST", f"/pools/{name}", status=409)
    assert [one["name"] for one in site.get("/pools")["pools"]] == ["app", "tcp", "away"]


def test_sections(site):
    found = changes(site, "POST", "/config", {"text": "[pool app]\nserver a = unix:x weight=9\n"})
    assert "app" in str(found["value"]["changes"])
    assert "weight=9" in changes(site, "GET", "/config")["text"]
    before = site.running.config
    detail = changes(site, "POST", "/config", {"text": "[pool app]\nnonsense = 1\n"}, 409)
    assert "nonsense" in detail and "Nothing was changed." in detail
    assert site.running.config is before


def test_whatIsTooLong(site):
    assert changes(site, "POST", "/config", {"text": "#" * 120_001}, 422)
    assert changes(site, "POST", "/config", {"text": "#" * 600_000}, 413)
    # As much as there may be, of what takes most bytes.
    lines = "[pool app]\n#"
    lines += "\U0001f511" * (120_000 - len(lines))
    text = json.dumps({"text": lines}, ensure_ascii=False).encode()
    changes(site, "POST", "/config", text)


# certificates


def test_aCertificate(site):
    path = "/certificates/site.pem"
    before = changes(site, "GET", path, by="operate")["value"]
    fresh = AUTHORITY.issue("site.test").pem().decode()
    answers = [changes(site, "PUT", f"{path}/proposed", {"pem": fresh})]
    assert changes(site, "GET", path)["value"] == before
    answers.append(changes(site, "POST", f"{path}/commit"))
    answers.append(changes(site, "GET", path))
    assert answers[-1]["value"]["Serial"] != before["Serial"]
    assert changes(site, "POST", f"{path}/commit", status=409) == "No ongoing transaction!"
    said = str(answers) + site.audit.read_text()
    assert "PRIVATE" not in said and fresh.splitlines()[1] not in said
    put, commit, refused = site.audited
    assert (put["what"], put["done"]) == ("set ssl cert site.pem", True)
    assert commit["before"]["serial"] == before["Serial"] and not refused["done"]


def test_aCertificateIsUsedNot(site):
    path = "/certificates/site.pem/proposed"
    changes(site, "PUT", path, {"pem": AUTHORITY.issue("site.test").pem().decode()})
    changes(site, "DELETE", path)
    assert changes(site, "DELETE", path, status=409) == "No ongoing transaction!"
    assert "Can't load" in changes(site, "PUT", path, {"pem": "nonsense"}, 409)
    changes(site, "PUT", "/certificates/none/proposed", {"pem": "nonsense"}, 404)


# maps and lists


def asked(site, path):
    """@return: the text that a client gets."""
    client = site.balancer.client()
    client.sends(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return client.receives(rb"HTTP/1.1 200 .*\r\n\r\n(.*)")[1].decode()


def test_aMap(site):
    [one] = changes(site, "GET", "/maps", by="operate")["value"]["files"]
    assert one["entries"] == 1
    path = "/maps/who.map/entries"
    assert site.get(f"{path}/%2Fa", "operate") == {"key": "/a", "value": "ann"}
    for key, value in {"/a": "anna", "/b": "bert and bea"}.items():
        found = changes(site, "PUT", f"{path}/{key.replace('/', '%2F')}", {"value": value})
        assert found == {"key": key, "value": value}
        assert asked(site, key) == value
    whole = f"{site.audit.parent}/who.map".replace("/", "%2F")
    assert changes(site, "GET", f"/maps/{whole}?limit=1") == {
        "entries": {"/a": "anna"}, "total": 2,
    }  # fmt: skip
    changes(site, "DELETE", f"{path}/%2Fa")
    assert asked(site, "/a") == "nobody"
    changes(site, "DELETE", f"{path}/%2Fa", status=404)
    changes(site, "GET", "/maps/none", status=404)
    assert [one["what"].split()[:2] for one in site.audited] == [
        ["set", "map"], ["add", "map"], ["del", "map"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("a%20b", "c", 422), ("%20", "c", 422), ("a%0Ab", "c", 422), ("a", "", 422),
        ("a", "b\nc", 409), ("%2Fa", "b\r\nc", 409), ("%2Fa", " ", 409), ("#0x1", "c", 409),
    ],
)  # fmt: skip
def test_whatIsNoLineOfAMap(site, key, value, status):
    changes(site, "PUT", f"/maps/who.map/entries/{key.replace('#', '%23')}", {"value": value},
            status)  # fmt: skip
    assert changes(site, "GET", "/maps/who.map")["entries"] == {"/a": "ann"}


def test_aList(site):
    path = "/lists/bad.lst/entries"
    changes(site, "PUT", f"{path}/192.0.2.0%2F24")
    assert site.get(f"{path}/192.0.2.0%2F24", "operate")["key"] == "192.0.2.0/24"
    assert changes(site, "GET", "/lists/bad.lst") == {
        "entries": ["198.51.100.7", "192.0.2.0/24"], "total": 2,
    }  # fmt: skip
    changes(site, "PUT", f"{path}/nonsense", status=409)
    changes(site, "DELETE", f"{path}/192.0.2.0%2F24")
    changes(site, "GET", f"{path}/192.0.2.0%2F24", status=404)


def test_thisIsNoProgramThatCanBeStartedAgain(site):
    assert "part of another program" in changes(site, "POST", "/upgrade", status=409)
