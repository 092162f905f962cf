"""
What lbtwist gives to Twisted: C{twistd lbtwist} and every built-in part, by the same
means as a third party's. Nothing but names: no logic, and nothing is imported that
they stand for.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

from lbtwist.interfaces import IBalancer, IHealthCheck
from lbtwist.registry import Extension

lbtwist = ServiceMaker(
    "lbtwist load balancer", "lbtwist.tap", "A multi-protocol load balancer.", "lbtwist"
)
leanReactor = Reactor("lbtwist", "lbtwist.net.reactor", "epoll with less work per event.")

roundrobin = Extension(IBalancer, "roundrobin", "lbtwist.balance.RoundRobin")
first = Extension(IBalancer, "first", "lbtwist.balance.First")
leastconn = Extension(IBalancer, "leastconn", "lbtwist.balance.LeastConn")
random = Extension(IBalancer, "random", "lbtwist.balance.Random")
peakEWMA = Extension(IBalancer, "peak-ewma", "lbtwist.balance.PeakEWMA")
source = Extension(IBalancer, "source", "lbtwist.balance.SourceHash")
uri = Extension(IBalancer, "uri", "lbtwist.balance.URIHash")
fieldHash = Extension(IBalancer, "hash", "lbtwist.balance.FieldHash")

tcpCheck = Extension(IHealthCheck, "tcp", "lbtwist.checks.TCPCheck")
httpCheck = Extension(IHealthCheck, "http", "lbtwist.checks.HTTPCheck")
