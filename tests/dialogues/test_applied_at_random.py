"""
Configurations at random, one in the place of another while clients are there: what runs then is
what a balancer would be that was started with the last of them, and nobody has been dropped.
"""

from random import Random

import pytest

from lbtwist.config.load import loadText
from lbtwist.registry import installed
from lbtwist.testing import Balancer

SERVERS = [
    "", "weight=7", "maxconn=5", "maxconn=9 minconn=2", "backup", "send-proxy", "slowstart=9s",
    "check=no", "maxqueue=3", "cookie=x{name}",
    "tls verify=none sni=h.test", "disabled",
]  # fmt: skip
POOL = [
    ["balance = roundrobin", "balance = leastconn", "balance = random", "balance = first",
     "balance = peak-ewma", "balance = source", "balance = hash field=X-User load=150",
     "balance = leastconn"],
    ["", "persist = source", "persist = cookie SRV insert", "persist = header X-S",
     "persist = cookie SRV insert, source", "persist = source store=sqlite"],
    ["", "queue = fair(src)", "queue = fair(header['x-tenant'])"],
    ["", "check = tcp interval=9s", "check = http GET / interval=8s rise=1 fall=4",
     "check = tcp interval=7s rise=5\nobserve = layer4"],
    ["", "outlier = consecutive-5xx=3"],
    ["", "maxconn = 20", "slowstart = 4s"],
    ["", "retry-on = conn-failure, empty-response", "retry-on = 503\nretry-budget = no"],
    ["", "http-reuse = always", "http-reuse = never"],
    ["", "timeout-server = 7s", "timeout-queue = 2s"],
    ["", "request =\n    set-header X-Pool {path}"],
    ["", "panic-threshold = 30"],
    ["", "source = 127.0.0.1"],
    ["", "notify = log events=down"],
]  # fmt: skip
FRONTEND = [
    ["", "maxconn = 30"], ["", "timeout-client = 9s"], ["", "request-id-header = X-Request-ID"],
    ["", "forwarded = both"], ["", "via = lb"], ["", "log-format = %ci %ST"],
]  # fmt: skip
GLOBAL = [["", "maxconn = 100"], ["admin = ${admin}", "", "admin = ${admin}2"]]
GLOBAL = [["", "maxconn = 100"], ["admin = ${admin}", "", "admin = ${admin}2"]]
RULES = [
    "limit rate=1000/1s", "set-header X-Path {path}", "deny if path == '/secret'",
    "pool chat if path == '/chat' and nice", "set-header X-Often {str(rate(src, '10s'))}",
    "limit concurrency=50 by={src}", "redirect location /x if path == '/y'",
]  # fmt: skip


def some(dice, among):
    return "\n".join(dice.choice(one) for one in among)


def config(dice):
    """One configuration, which is always a good one."""
    names = dice.sample("abcd", dice.randint(1, 4))
    servers = []
    for name in names:
        options = dice.choice(SERVERS).format(name=name)
        servers.append(f"server {name} = ${{{name}}} {options}")
    rules = [one for one in dice.sample(RULES, len(RULES)) if dice.random() < 0.5]
    chat = any("pool chat" in one for one in rules) or dice.random() < 0.3
    parts = [
        "[global]", some(dice, GLOBAL),
        "[conditions]", f"nice = path != '/{dice.choice('xy')}'",
        "[frontend www]", "bind = ${bind}", "pool = app", "log = ${log}", some(dice, FRONTEND),
    ]  # fmt: skip
    if rules:
        parts += ["request =", *(f"    {one}" for one in rules)]
    if dice.random() < 0.4:
        parts += ["[frontend more]", f"bind = ${{bind}}{dice.choice('23')}", "pool = app",
                  f"mode = {dice.choice(['http', 'tcp'])}"]  # fmt: skip
    app = some(dice, POOL)
    followed = [one for one in servers if "check=no" not in one]
    if "check =" in app and followed and dice.random() < 0.5:
        # Before the pool whose server it follows, which may be as new as itself.
        name = dice.choice(followed).split()[1]
        parts += ["[pool other]", f"server o = ${{d}} track=app/{name}"]
    parts += ["[pool app]", app, *servers]
    if dice.random() < 0.3:
        parts += [f"servers web = file:${{list}} weight={dice.choice('12')}"]
    if chat:
        parts += ["[pool chat]", "server c = ${c}", dice.choice(["balance = first", ""])]
    return "\n".join(parts).replace("store=sqlite", "")


def rules(book):
    return None if book is None else [rule.text for rule in book.rules]


def view(balancer):
    """All of it that can be seen, as plain values."""
    running = balancer.running
    found = {"config": running.config, "frontends": [], "pools": []}
    for frontend in running.frontends.values():
        inbound, shared = frontend.inbound, frontend.inbound.shared
        found["frontends"].append((
            frontend.name, inbound.config, inbound.maxconn, inbound.pool and inbound.pool.name,
            len(inbound.observers), [rules(one) for one in vars_of(inbound.rules)],
            [one.socket.getsockname() for one in inbound.listeners],
            shared and (shared.config, shared.pool.name, shared.observers == inbound.observers,
                        shared.newRequestId is None, shared.deciding is None,
                        shared.deciding and (shared.deciding.responds,
                                             shared.deciding._requestNames,
                                             shared.deciding._responseNames)),
        ))  # fmt: skip
    for pool in running.pools.values():
        retries, limits = pool.retries, pool._limits
        found["pools"].append((
            pool.name, pool.config, type(pool.balancer),
            pool.persistence and pool.persistence.names,
            [rules(one) for one in vars_of(pool.rules)], limits is None,
            limits and (limits._maxconn, limits._fullconn, limits._load.fullconn),
            retries and (retries.after, retries.most, retries.budget is None),
            pool.reuse.mode, pool.reuse._timeout, pool._connects, len(pool.inspecting),
            pool._queue._key is None, pool._counted is None, pool._told is None,
            pool._offer._threshold if hasattr(pool._offer, "_threshold") else None,
            sorted(pool.announcer._told), [one.name for one in pool.usable],
            sorted(server_view(running, one) for one in pool.servers),
            [(one.config, type(one.source)) for one in pool.memberships],
        ))  # fmt: skip
    found["process"] = running.process.maxconn, len(running.process.frontends)
    found["doors"] = [repr(one) for one in running.doors]
    found["probes"] = sorted(running.memberships._joins.probes)
    found["looking"] = bool(running.looking._timer)
    return found


def vars_of(found):
    return found.connection, found.request, found.response


def server_view(running, server):
    capacity, watch = server.capacity, running._monitor._watched.get(server)
    return (
        server.name, repr(server.options), str(server.endpoint), server.weight, server.maxconn,
        server.backup, server.maxqueue, server.slowstart, server.private, server.proxy is None,
        server.checkProxy is None, server.tls is None, server.tls and server.tls.name,
        repr(server.origin), server.key, server.health.rise, server.health.fall,
        server.health.up or server.health.held,
        server.health.inForce, server.health.held, server.health.followed is None, server.role,
        server.watch is None, (capacity.weight, capacity.maxconn, capacity.minconn,
                               capacity.percent, capacity.load is None),
        watch and (repr(watch.timing), type(watch.check).__name__),
    )  # fmt: skip


def settled(balancer):
    """Whoever has gone has gone, whoever starts slowly is warm, whoever is checked is up."""
    balancer.advance(60)
    return view(balancer)


def shown(found, balancer):
    """@return: the same as text, wherever the balancer keeps its sockets."""
    return {
        name: repr(value).replace(balancer._directory, "...").replace(", ", ",\n")
        for name, value in found.items()
    }


@pytest.mark.parametrize("seed", range(40))
def test_oneAfterTheOther(seed, tmp_path):
    dice = Random(seed)
    listed = tmp_path / "list"
    listed.write_text("127.0.0.9:81\n127.0.0.9:82\n")
    texts = [config(dice).replace("${list}", str(listed)) for _ in range(6)]
    seen = []
    with Balancer(texts[0], *"abcd") as balancer:
        for text in texts[1:]:
            balancer.advance(dice.random() * 5)
            balancer.becomes(text)
            seen.append(shown(settled(balancer), balancer))
    for text, found in zip(texts[1:], seen, strict=True):
        with Balancer(text, *"abcd") as fresh:
            expected = shown(settled(fresh), fresh)
        for name, value in expected.items():
            assert found[name] == value, f"{name} of\n{text}"


def test_theyAreGood():
    for seed in range(200):
        loadText(config(Random(seed)).replace("${list}", "/dev/null"), installed(), environ={
            **{one: f"unix:/{one}" for one in ("a", "b", "c", "d", "bind", "admin")},
            "log": "stdout",
        })  # fmt: skip
