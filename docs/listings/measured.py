"""
A balancer in a program of one's own whose metrics Prometheus can read.

    python measured.py lb.ini 9101

runs what lb.ini says, and answers on http://127.0.0.1:9101/metrics.
"""

import sys

from twisted.application.app import startApplication
from twisted.application.internet import TCPServer
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource
from twisted.web.server import Site

from lbtwist.admin.scraping import Metrics
from lbtwist.build import build
from lbtwist.config.load import load
from lbtwist.registry import installed

config, warnings = load(sys.argv[1], installed())
balancer = build(config)

# With aliases=True everything that HAProxy has is there by its names, too.
metrics = Metrics(balancer, reactor, aliases=True)
root = Resource()
root.putChild(b"metrics", metrics)
reactor.callWhenRunning(metrics.start)
reactor.addSystemEventTrigger("before", "shutdown", metrics.stop)

application = Application("shop")
balancer.setServiceParent(application)
# Who may see it is decided by where it listens: nobody is asked who he is.
TCPServer(int(sys.argv[2]), Site(root), interface="127.0.0.1").setServiceParent(application)

globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
startApplication(application, save=False)
reactor.run()
