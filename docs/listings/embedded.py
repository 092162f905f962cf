"""
A balancer inside a program of one's own: a service like any other of Twisted's.

    python embedded.py lb.ini

runs what lb.ini says, on the reactor that Twisted chooses, next to another service of
the same application: one that says every ten seconds how many clients there are.
"""

import sys

from twisted.application.app import startApplication
from twisted.application.internet import TimerService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver

from lbtwist.build import build
from lbtwist.config.load import load
from lbtwist.registry import installed

# Wrong configurations raise lbtwist.errors.ConfigError, with all that is wrong.
config, warnings = load(sys.argv[1], installed())

# Nothing is opened yet: that happens when the application is started.
balancer = build(config)


def count():
    """What runs can be asked at any time."""
    for name, frontend in balancer.frontends.items():
        print(f"{name} has {frontend.inbound.active} clients", flush=True)


application = Application("shop")
balancer.setServiceParent(application)
TimerService(10, count).setServiceParent(application)

globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
startApplication(application, save=False)
reactor.run()
