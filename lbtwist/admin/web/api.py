"""
C{/api/v1}: what there is to ask and to change, as JSON.

What is at which path is said in L{OPERATIONS} and described by L{lbtwist.admin.web.openapi},
which C{GET /api/v1/openapi.json} gives as well. In short::

    GET  /healthz                      200 "alive"; nobody is asked who he is, as for /readyz
    GET  /readyz                       200 or 503 {"ready": bool, "draining": bool,
                                       "missing": [pool, ...]}
    GET  /metrics                      Prometheus
    GET  /  and  /static/NAME          the page, see lbtwist.admin.web.page

    GET  /api/v1/whoami                {"name": "deploy" or null, "scopes": ["read", ...],
                                       "tokens": bool, "by": "token"|"cookie"|"nobody",
                                       "expires": seconds or null}; always 200
    POST /api/v1/login                 {"token": "..."} -> 200 as whoami, and a cookie
    POST /api/v1/logout                204
    GET  /api/v1/info                  {"version", "uptime", "startedAt", "now", "pid", "node",
                                       "connections", "maxconn", "accepted", "requests",
                                       "rate", "mostRate", "draining", "droppedLines",
                                       "bytesOut", "listeners"}
    GET  /api/v1/frontends             {"frontends": [FRONTEND, ...]}
    GET  /api/v1/frontends/{frontend}  FRONTEND
    GET  /api/v1/pools                 {"pools": [POOL, ...]}
    GET  /api/v1/pools/{pool}          POOL and "members": [SERVER, ...] (its "servers" is
                                       how many there are)
    GET  /api/v1/pools/{pool}/servers/{server}   SERVER, "checks": [CHECK, ...] (newest last),
                                       "events": [EVENT, ...]
    GET  /api/v1/failures              ?limit=100&frontend=&pool=  {"failures": [FAILURE, ...]}
                                       newest first; the query of a request is cut off
                                       without operate
    GET  /api/v1/happened              ?limit=100  {"events": [EVENT, ...]} newest first
    GET  /api/v1/history               ?frontend=NAME or ?pool=NAME for one of them:
                                       {"period": 10, "at": [seconds, ...],
                                       "frontends": {name: SERIES}, "pools": {name: SERIES}}
    GET  /api/v1/events                text/event-stream, see below
    GET  /api/v1/sessions              ?limit=100  {"sessions": [SESSION, ...], "total": n}
    GET  /api/v1/sessions/{id}         SESSION
    GET  /api/v1/tables                {"tables": [{"pool", "used"}]}
    GET  /api/v1/tables/{pool}         ?key=&limit=100  {"entries": [{"key", "server",
                                       "expires"}]}
    GET  /api/v1/certificates          {"certificates": [{"file", "names", "notAfter"}]}
    POST /api/v1/explain               {"request": "GET https://h/p", "frontend"?, "src"?,
                                       "sni"?, "alpn"?, "fields"?: [[name, value]],
                                       "proxied"?} -> {"steps", "action", "text"}

    POST /api/v1/pools/{pool}/servers/{server}/state    {"state": "ready"|"drain"|"maint"}
    POST .../weight   {"weight": 0..256}
    POST .../maxconn  {"maxconn": 0..}             each of these answers with SERVER
    POST .../address  {"address": "10.0.0.1", "port"?: 8000}
    GET  .../drain    {"pool", "server", "state", "draining", "sessions", "bound" or null,
                      "drained"}
    POST .../drain    {} or nothing: begins, and answers with the same; DELETE takes it back
    DELETE /api/v1/sessions/{id}       204
    DELETE /api/v1/tables/{pool}       ?key= for one; 204
    POST /api/v1/plan, /reload, /confirm, /rollback, /upgrade    {"words": [...]} or nothing:
                                       those that follow the verb -> SAID; GET /reload says the
                                       same of the last one
    GET  /api/v1/config                {"text"}; POST {"text"}, sections that are added -> SAID
    POST /api/v1/pools/{pool}, .../servers/{server}, /frontends/{frontend}, .../binds/{bind}
                                       {"words": [...]} or nothing, as above: adds it -> SAID;
                                       DELETE takes it away (?force=yes of a server) -> SAID
    GET  /api/v1/certificates/{certificate}             SAID
    PUT  .../proposed {"pem"}          DELETE takes it back; POST .../commit uses it, and
                                       with {"words": ["save"]} writes it -> SAID
    GET  /api/v1/maps, /lists          SAID
    GET  /api/v1/maps/{map}            ?limit=100  {"entries": {key: value}, "total"}
    GET  /api/v1/lists/{list}          ?limit=100  {"entries": [key, ...], "total"}
    GET  /api/v1/maps/{map}/entries/{key}    {"key", "value"}; PUT {"value"} the same; DELETE
                                       -> SAID. /lists/{list}/entries/{key} likewise, where
                                       PUT has no body -> SAID

SAID: C{{"severity", "text", "value"}}, what the verb says.

FRONTEND: C{name mode state binds active mostActive limit total rate mostRate requestRate
mostRequestRate requests bytesIn bytesOut responses failed denied requestErrors handshakes
handshakesFailed latency}. POOL: C{name mode state balance persist servers usable backup active
mostActive limit queued mostQueued queueLimit total rate mostRate bytesIn bytesOut responses
failed connectErrors responseErrors clientAborts serverAborts retries redispatched weight
wentDown downtime since latency}. SERVER: C{pool name state status admin address weight
ownWeight backup role limit active mostActive queued mostQueued sessions bound idle total rate
mostRate bytesIn bytesOut responses failed connectErrors responseErrors clientAborts
serverAborts retries redispatched wentDown downtime since checking check latency}.

What is not known is C{null}. C{since} is the moment of the last change. C{state} of a frontend
is C{OPEN FULL PAUSED STOP}, of a pool C{UP DOWN}, of a server C{UP DOWN DRAIN MAINT EJECTED
LEAVING}; C{status} is HAProxy's, as C{UP 1/3}.
C{responses} is C{{"1xx": n, ... "5xx": n, "other": n}}. C{latency} is C{{"p50", "p95", "p99"}}
of a frontend or pool, of a server with C{"mean"}, in seconds, over the last ten. C{check} is
C{{"status", "detail", "health", "rise", "fall", "failures"}}; CHECK C{{"at", "passed", "status",
"detail", "duration"}}; EVENT C{{"at", "pool", "server", "what", "before", "after", "reason",
"text"}}; FAILURE C{{"at", "number", "frontend", "client": [host, port], "pool", "server",
"cause", "stage", "status", "request", "rule", "where", "reason", "bytesIn", "bytesOut", "kind",
"text", "advice"}}, of which the last three say why and what to do about it; SESSION
C{{"id", "frontend", "client", "local", "age", "pool", "server", "waitsFor", "stage", "request",
"requestId", "retries", "tls"}}. SERIES has arrays as long as C{at}: C{rate} (exchanges per
second), C{failed} and C{errors} (failed ones, 5xx, per second), C{active}, C{queued}, C{in} and
C{out} (bytes per second), C{p50}, C{p95}, C{p99} (seconds). Times are seconds; moments are
seconds since the epoch.

The stream: an event C{state} at once and then one a second, C{data} of one line::

    {"at": ..., "full": true,
     "process": {"connections", "maxconn", "rate", "requests", "draining"},
     "frontends": {name: {"state", "active", "limit", "rate", "requestRate", "requests",
                          "failed", "errors", "denied", "bytesIn", "bytesOut", "latency",
                          "mode", "binds"}},
     "pools": {name: {"state", "servers", "usable", "backup", "active", "queued", "rate",
                      "total", "failed", "errors", "retries", "bytesIn", "bytesOut",
                      "latency", "mode", "balance"}},
     "servers": {pool: {name: {"state", "status", "admin", "address", "weight", "limit",
                               "active", "queued", "sessions", "idle", "rate", "total",
                               "failed", "errors", "check", "since", "latency", "backup",
                               "role"}}}}

C{errors} are responses 5xx. In C{servers}, C{check} is the word of the last one, and C{since}
the moment of the last change. The first has everything and C{"full": true}; those that follow
have C{"full": false}, and of each thing only the fields that have changed; a thing that is gone
is C{null}. Where nothing has changed for 15 s a comment comes. At most 32 streams at once: 503
for more. The browser's C{EventSource} comes back by itself.

Who may what: C{read} everything but sessions, the entries of tables and queries; C{operate}
those too, and state, weight, maxconn, drain, the end of a session; C{admin} addresses, clearing
of tables, plan and reload, the configuration, and what is added and taken away. What a
certificate, a map or a list says needs C{operate}.

A token goes into C{Authorization: Bearer}. With the cookie, and without tokens, everything but
GET needs a header C{X-Lbtwist: 1} and comes from the same origin.

What is refused is C{application/problem+json} (RFC 9457): C{{"type", "title",
"status", "detail"}}, and C{"id"} of what went wrong here, which is in the log.
"""

from __future__ import annotations

from lbtwist.admin.changing import MOST_CONN
from lbtwist.admin.web import doing
from lbtwist.admin.web.calls import STREAM, Call, Operation, verb
from lbtwist.admin.web.shapes import Shape, number, obj, text, word
from lbtwist.admin.web.tokens import ADMIN, OPERATE, READ
from lbtwist.health import Admin
from lbtwist.server import MOST_WEIGHT

MOST_ITEMS = 10_000
"""So many of something are in one answer."""

_LIMIT: Shape = {**number(1, MOST_ITEMS), "default": 100}
_NAME = text(256, 1)
_SERVER = "/pools/{pool}/servers/{server}"
_FRONTEND = "/frontends/{frontend}"
_CERTIFICATE = "/certificates/{certificate}"
_IN_MAP = "/maps/{map}/entries/{key}"
_IN_LIST = "/lists/{list}/entries/{key}"
_EXPLAIN = obj(
    {
        "frontend": text(256), "src": text(256), "sni": {**text(256), "type": ["string", "null"]},
        "alpn": text(256), "proxied": text(256),
        "fields": {
            "type": "array", "maxItems": 16,
            "items": {
                "type": "array", "prefixItems": [text(256, 1), text()], "minItems": 2,
                "maxItems": 2,
            },
        },
    },
    request=text(4096),
)  # fmt: skip

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/whoami", "", "Who asks, and what they may do.", doing.whoami, "Who"),
    Operation("POST", "/login", "", "Begin a session of the page: gives a cookie for a token.",
              doing.login, "Who", obj(token=text(1024, 1))),
    Operation("POST", "/logout", "", "End it.", doing.logout, "", obj(), True),
    Operation("GET", "/info", READ, "The process.", doing.info, "Info"),
    Operation("GET", "/frontends", READ, "All frontends.", doing.frontends, "Frontends"),
    Operation("GET", "/frontends/{frontend}", READ, "A frontend.", doing.frontend, "Frontend"),
    Operation("GET", "/pools", READ, "All pools.", doing.pools, "Pools"),
    Operation("GET", "/pools/{pool}", READ, "A pool and its servers.", doing.pool,
              "PoolWithServers"),
    Operation("GET", _SERVER, READ, "A server, its last checks and what has happened to it.",
              doing.server, "ServerWithChecks"),
    Operation("GET", "/failures", READ, "The last exchanges that failed, and why.", doing.failures,
              "Failures", query={"limit": _LIMIT, "frontend": _NAME, "pool": _NAME}),
    Operation("GET", "/happened", READ, "What has happened to servers lately.", doing.happened,
              "Events", query={"limit": _LIMIT}),
    Operation("GET", "/history", READ, "The last hour of frontends and pools.", doing.history,
              "History", query={"frontend": _NAME, "pool": _NAME}),
    Operation("GET", "/events", READ, "The state of everything, once a second.", doing.events,
              STREAM),
    Operation("GET", "/sessions", OPERATE, "Connections of clients.", doing.sessions, "Sessions",
              query={"limit": _LIMIT}),
    Operation("GET", "/sessions/{id}", OPERATE, "A connection.", doing.session, "Session"),
    Operation("DELETE", "/sessions/{id}", OPERATE, "End a connection.", doing.endSession, ""),
    Operation("GET", "/tables", READ, "Pools whose persistence has a table.", doing.tables,
              "Tables"),
    Operation("GET", "/tables/{pool}", OPERATE, "Clients that the persistence of a pool knows.",
              doing.table, "Entries", query={"limit": _LIMIT, "key": text(1024, 1)}),
    Operation("DELETE", "/tables/{pool}", ADMIN, "Forget all of them, or one.", doing.clearTable,
              "", query={"key": text(1024, 1)}),
    Operation("GET", "/certificates", READ, "When certificates expire.", doing.certificates,
              "Certificates"),
    Operation("POST", "/explain", READ, "Where a request would go, and why.", doing.explained,
              "Explanation", _EXPLAIN),
    Operation("POST", f"{_SERVER}/state", OPERATE, "Put a server into a state.",
              doing.setting("state"), "Server",
              obj(state=word(Admin.READY, Admin.DRAIN, Admin.MAINT))),
    Operation("POST", f"{_SERVER}/weight", OPERATE, "Give a server a weight.",
              doing.setting("weight"), "Server", obj(weight=number(0, MOST_WEIGHT))),
    Operation("POST", f"{_SERVER}/maxconn", OPERATE, "Limit a server; 0 is no limit.",
              doing.setting("maxconn"), "Server", obj(maxconn=number(0, MOST_CONN))),
    Operation("POST", f"{_SERVER}/address", ADMIN, "Give a server another address.",
              doing.setting("address", "port"), "Server",
              obj({"port": number(1, 65535)}, address=text(256, 1))),
    Operation("GET", f"{_SERVER}/drain", READ, "How far a server is from being empty.",
              doing.drained, "Drain"),
    Operation("POST", f"{_SERVER}/drain", OPERATE, "Give a server nobody new.",
              doing.inState(Admin.DRAIN), "Drain", obj(), True),
    Operation("DELETE", f"{_SERVER}/drain", OPERATE, "Take that back.", doing.inState(Admin.READY),
              "Drain"),
    verb("/plan", "plan", ADMIN, "What a reload would change."),
    verb("/reload", "reload", ADMIN, "Read the configuration again, and apply the difference."),
    verb("/confirm", "confirm", ADMIN, "Keep what a reload on trial has changed."),
    verb("/rollback", "rollback", ADMIN, "Go back to what ran before the last reload."),
    verb("/reload", "show reload", OPERATE, "The last reload, and how it ended.", "GET"),
    verb("/upgrade", "upgrade", ADMIN, "Start the program again, in the place of this process."),
    Operation("GET", "/config", ADMIN, "What runs, as in a file, without what is secret.",
              doing.config, "Config"),
    verb("/config", "add config", ADMIN, "Add sections, or options to them, to what runs.",
         payload="text"),
    verb(_SERVER, "add server {pool}/{server}", ADMIN, "Add a server, in maintenance.",
         of=Call.pool),
    verb(_SERVER, "del server {pool}/{server}", ADMIN,
         "Take a server away that is in maintenance.", "DELETE", Call.server, flag="force"),
    verb("/pools/{pool}", "add pool {pool}", ADMIN, "Add a pool, without servers."),
    verb("/pools/{pool}", "del pool {pool}", ADMIN, "Take a pool away that nothing names.",
         "DELETE", Call.pool),
    verb(_FRONTEND, "add frontend {frontend}", ADMIN, "Add a frontend, which listens at once."),
    verb(_FRONTEND, "del frontend {frontend}", ADMIN, "Let a frontend end with what runs by it.",
         "DELETE", Call.frontend),
    verb(f"{_FRONTEND}/binds/{{bind}}", "add bind {frontend} {bind}", ADMIN,
         "Listen on one more address.", of=Call.frontend),
    verb(f"{_FRONTEND}/binds/{{bind}}", "del bind {frontend} {bind}", ADMIN,
         "Listen on an address no more.", "DELETE", Call.frontend),
    verb(_CERTIFICATE, "show ssl cert {certificate}", OPERATE, "A certificate; nothing of its key.",
         "GET", doing.certificateIn),
    verb(f"{_CERTIFICATE}/proposed", "set ssl cert {certificate}", ADMIN,
         "Have another certificate, or key, ready.", "PUT", doing.certificateIn, "pem"),
    verb(f"{_CERTIFICATE}/proposed", "abort ssl cert {certificate}", ADMIN,
         "Use what is ready not.", "DELETE"),
    verb(f"{_CERTIFICATE}/commit", "commit ssl cert {certificate}", ADMIN, "Use what is ready."),
    verb("/maps", "show map", OPERATE, "Maps that rules read.", "GET"),
    Operation("GET", "/maps/{map}", OPERATE, "What a map says.", doing.mapped, "Map",
              query={"limit": _LIMIT}),
    Operation("GET", _IN_MAP, OPERATE, "What a map says of one.", doing.mapEntry, "Entry"),
    Operation("PUT", _IN_MAP, ADMIN, "Have a map say so.", doing.putEntry, "Entry",
              obj(value=text(2048, 1))),
    verb(_IN_MAP, "del map {map} {key}", ADMIN, "Have one less in a map.", "DELETE",
         doing.mapEntry),
    verb("/lists", "show acl", OPERATE, "Lists that rules read.", "GET"),
    Operation("GET", "/lists/{list}", OPERATE, "What a list says.", doing.listed, "List",
              query={"limit": _LIMIT}),
    Operation("GET", _IN_LIST, OPERATE, "Whether a list has one.", doing.listEntry, "Entry"),
    verb(_IN_LIST, "add acl {list} {key}", ADMIN, "Have one more in a list.", "PUT",
         doing.listIn),
    verb(_IN_LIST, "del acl {list} {key}", ADMIN, "Have one less in a list.", "DELETE",
         doing.listEntry),
)  # fmt: skip
"""All there is below L{BASE}."""
