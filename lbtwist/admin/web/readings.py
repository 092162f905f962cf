"""
Frontends, pools and servers as the API shows them: the rows of L{lbtwist.admin.rows}, by names
of ours, and what the verbs of the socket say besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr

from lbtwist.admin.history import History
from lbtwist.admin.rows import CLASSES, Row, frontendRow, healthOf, poolRow, serverRow
from lbtwist.draining import leftIn
from lbtwist.events import plain, stateOf
from lbtwist.health import Admin
from lbtwist.pool import Pool
from lbtwist.server import Server
from lbtwist.service import Frontend, LoadBalancer

_COMMON = {
    "active": "scur", "mostActive": "smax", "limit": "slim", "total": "stot", "rate": "rate",
    "mostRate": "rate_max", "bytesIn": "bin", "bytesOut": "bout",
}  # fmt: skip
_FRONTEND = {
    "requestRate": "req_rate", "mostRequestRate": "req_rate_max", "requests": "req_tot",
    "denied": "dreq", "requestErrors": "ereq", "handshakes": "ssl_sess",
    "handshakesFailed": "ssl_failed_handshake", **_COMMON,
}  # fmt: skip
_BACK = {
    "queued": "qcur", "mostQueued": "qmax", "connectErrors": "econ", "responseErrors": "eresp",
    "clientAborts": "cli_abrt", "serverAborts": "srv_abrt", "retries": "wretr",
    "redispatched": "wredis", "wentDown": "chkdown", "downtime": "downtime",
    **_COMMON,
}  # fmt: skip
_POOL = {"queueLimit": "qlimit", "usable": "act", "backup": "bck", "weight": "weight", **_BACK}


@attr.frozen(eq=False)
class Readings:
    """Reads one balancer."""

    balancer: LoadBalancer
    history: History

    def frontend(self, frontend: Frontend) -> dict[str, Any]:
        row = frontendRow(self.balancer, frontend)
        return {
            "name": frontend.name, "mode": frontend.config.mode, "state": row.state,
            "binds": [str(bind) for bind in frontend.config.bind],
            "failed": frontend.inbound.traffic.failed, **_named(row, _FRONTEND),
            "responses": _responses(row), "latency": self.latency(frontend),
        }  # fmt: skip

    def pool(self, pool: Pool) -> dict[str, Any]:
        row = poolRow(self.balancer, pool, self.balancer.deadlines.seconds())
        config = pool.config
        return {
            "name": pool.name, "mode": row.values["mode"], "state": row.state,
            "balance": config.balance.name, "persist": [kind.name for kind in config.persist],
            "servers": len(pool.servers), "failed": pool.traffic.failed, **_named(row, _POOL),
            "since": self._since(row), "responses": _responses(row), "latency": self.latency(pool),
        }  # fmt: skip

    def server(self, pool: Pool, server: Server) -> dict[str, Any]:
        balancer = self.balancer
        number = balancer.looking.of(pool).number
        row = serverRow(balancer, pool, server, number, balancer.deadlines.seconds())
        left = leftIn(pool, server)
        return {
            "pool": pool.name, "name": server.name, "state": row.state,
            "status": row.values["status"], "admin": server.health.admin,
            "address": row.values.get("addr"), "weight": server.weight,
            "ownWeight": server.capacity.weight, "backup": server.backup, "role": server.role,
            "sessions": left.sessions, "bound": None if left.bound < 0 else left.bound,
            "idle": len(server.idle), "failed": server.traffic.failed, **_named(row, _BACK),
            "since": self._since(row), "wentDown": server.traffic.wentDown,
            "responses": _responses(row),
            "checking": balancer.administration.isChecked(server), "check": _lastCheck(row, server),
            "latency": self.serverLatency(server),
        }  # fmt: skip

    def _since(self, row: Row) -> int:
        """@return: when it has changed last."""
        return round(self.balancer.wallclock()) - int(row.values["lastchg"])

    def checks(self, server: Server) -> list[dict[str, Any]]:
        """@return: the last of a server, the newest last."""
        offset = self.balancer.wallclock() - self.balancer.deadlines.seconds()
        return [
            {
                "at": round(one.at + offset, 3), "passed": one.passed, "status": one.status,
                "detail": plain(one.detail), "duration": round(one.duration, 6),
            }
            for one in server.health.results
        ]  # fmt: skip

    def drain(self, pool: Pool, server: Server) -> dict[str, Any]:
        """@return: how far a server is from being empty."""
        left = leftIn(pool, server)
        draining = server.health.inForce != Admin.READY
        return {
            "pool": pool.name, "server": server.name, "state": stateOf(server),
            "draining": draining, "sessions": left.sessions,
            "bound": None if left.bound < 0 else left.bound,
            "drained": draining and left.nothing,
        }  # fmt: skip

    def latency(self, one: Frontend | Pool) -> dict[str, float] | None:
        """@return: of the last ten seconds."""
        found = self.history.latency(one)
        if found is None:
            return None
        return {name: round(value, 6) for name, value in attr.asdict(found).items()}

    def serverLatency(self, server: Server) -> dict[str, float] | None:
        """@return: the same of a server, with the mean."""
        mean, found = self.history.mean(server), self.history.latency(server)
        if mean is None or found is None:
            return None
        said = {"mean": mean, **attr.asdict(found)}
        return {name: round(value, 6) for name, value in said.items()}

    @property
    def draining(self) -> bool:
        """Whether the balancer is about to end."""
        return any(one.inbound.draining for one in self.balancer.frontends.values())

    @property
    def missing(self) -> list[str]:
        """Pools that a frontend sends everything to that no rule sends elsewhere, and that have
        no server for it; of a balancer without such pools, any that has none."""
        pools = self.balancer.pools
        wanted = {one.config.pool for one in self.balancer.frontends.values()} & pools.keys()
        return [name for name in pools if name in (wanted or pools) and not pools[name].usable]


def _named(row: Row, names: Mapping[str, str]) -> dict[str, Any]:
    """@return: values of a row; C{None} for what is not known, and for a limit that is none."""
    found = {name: row.values.get(column) for name, column in names.items()}
    return {**found, "limit": found["limit"] or None}


def _responses(row: Row) -> dict[str, Any] | None:
    if "hrsp_other" not in row.values:
        return None
    return {name: row.values[f"hrsp_{name}"] for name in CLASSES}


def _lastCheck(row: Row, server: Server) -> dict[str, Any] | None:
    if "check_status" not in row.values:
        return None
    health = server.health
    result = health.results[-1] if health.results else None
    return {
        "status": row.values["check_status"],
        "detail": "" if result is None else plain(result.detail), "health": healthOf(health),
        "rise": health.rise, "fall": health.fall, "failures": server.traffic.checkFailures,
    }  # fmt: skip
