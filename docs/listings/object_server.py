"""
A resource of this program as one server of a pool.

    PORT=8080 python object_server.py

What asks 127.0.0.1:8080 is answered by the resource below. Other servers may stand beside it:
here a backup, for the time when the program marks itself as ill.
"""

import os
import sys

from twisted.application.app import startApplication
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource

from lbtwist.build import build
from lbtwist.config.load import loadText
from lbtwist.registry import installed

CONFIG = """
[frontend www]
bind = 127.0.0.1:${PORT}
pool = shop
request = set-header X-Shop open

[pool shop]
check = http GET /health expect=200 interval=1s
server own = object:shop
server sorry = demo:sorry backup
"""


class Shop(Resource):
    """Greets its clients by their addresses."""

    isLeaf = True

    def render_GET(self, request):
        if request.path == b"/health":
            return b"well"
        # That of the client, however many of them share a connection to this resource.
        client = request.getClientAddress()
        return f"hello {client.host}, the shop is {request.getHeader('X-Shop')}\n".encode()


config, _ = loadText(CONFIG, installed(), environ=os.environ)
balancer = build(config, objects={"shop": Shop()})

application = Application("shop")
balancer.setServiceParent(application)

globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
startApplication(application, save=False)
reactor.run()
