"""
What lbtwist gives to Twisted: C{twistd lbtwist} and every built-in part, by the same
means as a third party's. Nothing but names: no logic, and nothing is imported that
they stand for.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

from lbtwist.endpointparser import PoolEndpointParser
from lbtwist.interfaces import (
    IBalancer,
    IConnectionRule,
    IHealthCheck,
    IHealthObserver,
    IPersistence,
    IPersistenceStore,
    IRequestRule,
    IResponseRule,
    IServerSource,
    ISharedStore,
)
from lbtwist.registry import Extension

lbtwist = ServiceMaker(
    "lbtwist load balancer", "lbtwist.tap", "A multi-protocol load balancer.", "lbtwist"
)
poolEndpoint = PoolEndpointParser()
leanReactor = Reactor("lbtwist", "lbtwist.net.reactor", "epoll with less work per event.")

roundrobin = Extension(IBalancer, "roundrobin", "lbtwist.balance.RoundRobin")
first = Extension(IBalancer, "first", "lbtwist.balance.First")
leastconn = Extension(IBalancer, "leastconn", "lbtwist.balance.LeastConn")
random = Extension(IBalancer, "random", "lbtwist.balance.Random")
peakEWMA = Extension(IBalancer, "peak-ewma", "lbtwist.balance.PeakEWMA")
source = Extension(IBalancer, "source", "lbtwist.balance.SourceHash")
uri = Extension(IBalancer, "uri", "lbtwist.balance.URIHash")
fieldHash = Extension(IBalancer, "hash", "lbtwist.balance.FieldHash")
rdpCookieHash = Extension(IBalancer, "rdp-cookie", "lbtwist.balance.RDPCookieHash")

cookie = Extension(IPersistence, "cookie", "lbtwist.persistence.cookie.Cookie")
sourceAddress = Extension(IPersistence, "source", "lbtwist.persistence.keyed.Source")
destination = Extension(IPersistence, "destination", "lbtwist.persistence.keyed.Destination")
requestField = Extension(IPersistence, "header", "lbtwist.persistence.keyed.Header")
parameter = Extension(IPersistence, "parameter", "lbtwist.persistence.keyed.Parameter")
expression = Extension(IPersistence, "expression", "lbtwist.persistence.keyed.Expression")
learn = Extension(IPersistence, "learn", "lbtwist.persistence.learn.Learn")
hashOnly = Extension(IPersistence, "hash", "lbtwist.persistence.hashed.Hash")
rdpCookie = Extension(IPersistence, "rdp-cookie", "lbtwist.persistence.begun.RDPCookie")
sslSessionId = Extension(
    IPersistence, "ssl-session-id", "lbtwist.persistence.begun.SSLSessionId"
)

memoryStore = Extension(IPersistenceStore, "memory", "lbtwist.stores.memory.MemoryStore")
sqliteStore = Extension(IPersistenceStore, "sqlite", "lbtwist.stores.sqlite.SQLiteStore")
redisStore = Extension(IPersistenceStore, "redis", "lbtwist.stores.redis.RedisStore")
sharedRedis = Extension(ISharedStore, "redis", "lbtwist.stores.redis.SharedRedis")

tcpCheck = Extension(IHealthCheck, "tcp", "lbtwist.checks.tcp.TCPCheck")
tlsCheck = Extension(IHealthCheck, "tls", "lbtwist.checks.tls.TLSCheck")
httpCheck = Extension(IHealthCheck, "http", "lbtwist.checks.http.HTTPCheck")
agentCheck = Extension(IHealthCheck, "agent", "lbtwist.checks.agent.AgentCheck")
execCheck = Extension(IHealthCheck, "exec", "lbtwist.checks.program.ExecCheck")
redisCheck = Extension(IHealthCheck, "redis", "lbtwist.checks.redis.RedisCheck")
mysqlCheck = Extension(IHealthCheck, "mysql", "lbtwist.checks.mysql.MySQLCheck")
postgresqlCheck = Extension(
    IHealthCheck, "postgresql", "lbtwist.checks.postgresql.PostgreSQLCheck"
)
smtpCheck = Extension(IHealthCheck, "smtp", "lbtwist.checks.smtp.SMTPCheck")
ldapCheck = Extension(IHealthCheck, "ldap", "lbtwist.checks.ldap.LDAPCheck")
dnsCheck = Extension(IHealthCheck, "dns", "lbtwist.checks.dns.DNSCheck")
grpcCheck = Extension(IHealthCheck, "grpc", "lbtwist.checks.grpc.GRPCCheck")

healthLog = Extension(IHealthObserver, "log", "lbtwist.announcing.HealthLog")
webhook = Extension(IHealthObserver, "webhook", "lbtwist.notices.webhook.Webhook")
mail = Extension(IHealthObserver, "mail", "lbtwist.notices.mail.Mail")

dnsAddresses = Extension(IServerSource, "dns", "lbtwist.sources.names.DNSAddresses")
dnsService = Extension(IServerSource, "srv", "lbtwist.sources.names.DNSService")
serverFile = Extension(IServerSource, "file", "lbtwist.sources.files.ServerFile")
httpList = Extension(IServerSource, "http", "lbtwist.sources.web.HTTPList")
httpsList = Extension(IServerSource, "https", "lbtwist.sources.web.HTTPSList")
consul = Extension(IServerSource, "consul", "lbtwist.sources.consul.Consul")
docker = Extension(IServerSource, "docker", "lbtwist.sources.docker.Docker")

proxyPass = Extension(
    IRequestRule, "proxy-pass", "lbtwist.rules.passing.ProxyPass", waits=False
)
delCookie = Extension(
    IRequestRule, "del-cookie", "lbtwist.rules.rewriting.DelCookie", waits=False
)
location = Extension(
    IResponseRule, "location", "lbtwist.rules.rewriting.Location", waits=False
)
cookieFlags = Extension(
    IResponseRule, "cookie-flags", "lbtwist.rules.rewriting.CookieFlags", waits=False
)

poolConnection = Extension(
    IConnectionRule, "pool", "lbtwist.rules.actions.Pool", waits=False, decides=True
)
poolRequest = Extension(
    IRequestRule, "pool", "lbtwist.rules.actions.Pool", waits=False, decides=True
)
serverRequest = Extension(
    IRequestRule, "server", "lbtwist.rules.actions.Server", waits=False, decides=True
)
allowConnection = Extension(
    IConnectionRule, "allow", "lbtwist.rules.actions.Allow", waits=False, decides=True
)
allowRequest = Extension(
    IRequestRule, "allow", "lbtwist.rules.actions.Allow", waits=False, decides=True
)
allowResponse = Extension(
    IResponseRule, "allow", "lbtwist.rules.actions.Allow", waits=False, decides=True
)
denyRequest = Extension(
    IRequestRule, "deny", "lbtwist.rules.actions.Deny", waits=False, decides=True
)
tarpitRequest = Extension(
    IRequestRule, "tarpit", "lbtwist.rules.actions.Tarpit", waits=False, decides=True
)
rejectConnection = Extension(
    IConnectionRule, "reject", "lbtwist.rules.actions.Reject", waits=False, decides=True
)
rejectRequest = Extension(
    IRequestRule, "reject", "lbtwist.rules.actions.Reject", waits=False, decides=True
)
closeConnection = Extension(
    IConnectionRule, "close", "lbtwist.rules.actions.Close", waits=False, decides=True
)
closeRequest = Extension(
    IRequestRule, "close", "lbtwist.rules.actions.Close", waits=False, decides=True
)
silentDropConnection = Extension(
    IConnectionRule, "silent-drop", "lbtwist.rules.actions.SilentDrop", waits=False, decides=True
)
silentDropRequest = Extension(
    IRequestRule, "silent-drop", "lbtwist.rules.actions.SilentDrop", waits=False, decides=True
)
answerRequest = Extension(
    IRequestRule, "answer", "lbtwist.rules.actions.Answer", waits=False, decides=True
)
tunnelRequest = Extension(
    IRequestRule, "tunnel", "lbtwist.rules.actions.Tunnel", waits=False, decides=True
)
redirectRequest = Extension(
    IRequestRule, "redirect", "lbtwist.rules.redirecting.Redirect", waits=False
)
setHeaderRequest = Extension(
    IRequestRule, "set-header", "lbtwist.rules.fields.SetHeader", waits=False
)
setHeaderResponse = Extension(
    IResponseRule, "set-header", "lbtwist.rules.fields.SetHeader", waits=False
)
addHeaderRequest = Extension(
    IRequestRule, "add-header", "lbtwist.rules.fields.AddHeader", waits=False
)
addHeaderResponse = Extension(
    IResponseRule, "add-header", "lbtwist.rules.fields.AddHeader", waits=False
)
delHeaderRequest = Extension(
    IRequestRule, "del-header", "lbtwist.rules.fields.DelHeader", waits=False
)
delHeaderResponse = Extension(
    IResponseRule, "del-header", "lbtwist.rules.fields.DelHeader", waits=False
)
replaceHeaderRequest = Extension(
    IRequestRule, "replace-header", "lbtwist.rules.fields.ReplaceHeader", waits=False
)
replaceHeaderResponse = Extension(
    IResponseRule, "replace-header", "lbtwist.rules.fields.ReplaceHeader", waits=False
)
replaceValueRequest = Extension(
    IRequestRule, "replace-value", "lbtwist.rules.fields.ReplaceValue", waits=False
)
replaceValueResponse = Extension(
    IResponseRule, "replace-value", "lbtwist.rules.fields.ReplaceValue", waits=False
)
setPathRequest = Extension(IRequestRule, "set-path", "lbtwist.rules.changes.SetPath", waits=False)
replacePathRequest = Extension(
    IRequestRule, "replace-path", "lbtwist.rules.changes.ReplacePath", waits=False
)
setQueryRequest = Extension(
    IRequestRule, "set-query", "lbtwist.rules.changes.SetQuery", waits=False
)
setUriRequest = Extension(IRequestRule, "set-uri", "lbtwist.rules.changes.SetURI", waits=False)
setMethodRequest = Extension(
    IRequestRule, "set-method", "lbtwist.rules.changes.SetMethod", waits=False
)
setHostRequest = Extension(IRequestRule, "set-host", "lbtwist.rules.changes.SetHost", waits=False)
setStatusResponse = Extension(
    IResponseRule, "set-status", "lbtwist.rules.changes.SetStatus", waits=False
)
trace = Extension(IRequestRule, "trace", "lbtwist.rules.traces.Trace", waits=False)
setVarConnection = Extension(
    IConnectionRule, "set-var", "lbtwist.rules.keeping.SetVar", waits=False
)
setVarRequest = Extension(IRequestRule, "set-var", "lbtwist.rules.keeping.SetVar", waits=False)
setVarResponse = Extension(IResponseRule, "set-var", "lbtwist.rules.keeping.SetVar", waits=False)
captureRequest = Extension(IRequestRule, "capture", "lbtwist.rules.keeping.Capture", waits=False)
captureResponse = Extension(IResponseRule, "capture", "lbtwist.rules.keeping.Capture", waits=False)
captureCookieRequest = Extension(
    IRequestRule, "capture-cookie", "lbtwist.rules.keeping.CaptureCookie", waits=False
)
captureCookieResponse = Extension(
    IResponseRule, "capture-cookie", "lbtwist.rules.keeping.CaptureCookie", waits=False
)
roleConnection = Extension(IConnectionRule, "role", "lbtwist.rules.keeping.Role", waits=False)
roleRequest = Extension(IRequestRule, "role", "lbtwist.rules.keeping.Role", waits=False)
forcePersistConnection = Extension(
    IConnectionRule, "force-persist", "lbtwist.rules.keeping.ForcePersist", waits=False
)
forcePersistRequest = Extension(
    IRequestRule, "force-persist", "lbtwist.rules.keeping.ForcePersist", waits=False
)
ignorePersistConnection = Extension(
    IConnectionRule, "ignore-persist", "lbtwist.rules.keeping.IgnorePersist", waits=False
)
ignorePersistRequest = Extension(
    IRequestRule, "ignore-persist", "lbtwist.rules.keeping.IgnorePersist", waits=False
)
setTimeoutRequest = Extension(
    IRequestRule, "set-timeout", "lbtwist.rules.keeping.SetTimeout", waits=False
)
setTimeoutResponse = Extension(
    IResponseRule, "set-timeout", "lbtwist.rules.keeping.SetTimeout", waits=False
)
noRetry = Extension(IRequestRule, "no-retry", "lbtwist.rules.keeping.NoRetry", waits=False)
priorityConnection = Extension(
    IConnectionRule, "priority", "lbtwist.rules.keeping.Priority", waits=False
)
priorityRequest = Extension(
    IRequestRule, "priority", "lbtwist.rules.keeping.Priority", waits=False
)
setLogRequest = Extension(IRequestRule, "set-log", "lbtwist.rules.keeping.SetLog", waits=False)
setLogResponse = Extension(IResponseRule, "set-log", "lbtwist.rules.keeping.SetLog", waits=False)

limitConnection = Extension(IConnectionRule, "limit", "lbtwist.sharing.ConnectionLimit")
limitRequest = Extension(IRequestRule, "limit", "lbtwist.sharing.Limit")
auth = Extension(IRequestRule, "auth", "lbtwist.authentication.Auth")
