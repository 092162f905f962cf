"""
A server that answers as Consul does: the part of its HTTP API that registers services and
tells which are healthy, with blocking queries. As a script it listens on the port that it is
given.
"""

import json
import sys

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


class ConsulLike(Resource):
    """
    @ivar index: of the catalog; grows with each change.
    @ivar token: has to be shown, if there is one.
    @ivar queries: the path and the arguments of each question for health.
    @ivar waiting: questions that are not answered until something changes.
    @ivar broken: what is answered in place of anything else: status, body, and header fields.
    """

    isLeaf = True

    def __init__(self, token=""):
        super().__init__()
        self.token = token
        self.index = 10
        self.services = {}
        self.queries = []
        self.waiting = []
        self.broken = None
        self.tokens = []

    # as a test sees it

    def register(self, id, port, address="127.0.0.1", name="web", tags=(), weight=1):
        self.services[id] = {
            "ID": id, "Service": name, "Address": address, "Port": port, "Tags": list(tags),
            "Weights": {"Passing": weight, "Warning": 1}, "status": "passing",
        }  # fmt: skip
        self.changed()

    def deregister(self, id):
        del self.services[id]
        self.changed()

    def mark(self, id, status):
        """@param status: C{passing}, C{warning} or C{critical}."""
        self.services[id]["status"] = status
        self.changed()

    def changed(self, index=None):
        self.index = self.index + 1 if index is None else index
        for answer in list(self.waiting):
            answer()

    # as a client sees it

    def render(self, request):
        path = request.path.decode()
        arguments = {
            key.decode(): [one.decode() for one in values] for key, values in request.args.items()
        }
        if request.method == b"PUT":
            return self.put(path, json.loads(request.content.read() or b"null"))
        self.queries.append((path, arguments))
        self.tokens.append(request.getHeader("X-Consul-Token"))
        if self.token and request.getHeader("X-Consul-Token") != self.token:
            request.setResponseCode(403)
            return b"Permission denied"
        if self.broken is not None:
            status, body, fields = self.broken
            request.setResponseCode(status)
            for name, value in fields.items():
                request.setHeader(name, value)
            return body
        if int(arguments.get("index", ["0"])[0]) != self.index:
            return self.answered(request, path, arguments)
        self.wait(request, path, arguments)
        return NOT_DONE_YET

    def put(self, path, body):
        verb, _, id = path.removeprefix("/v1/agent/service/").partition("/")
        if verb == "register":
            self.register(
                body["ID"], body["Port"], body.get("Address", "127.0.0.1"), body["Name"],
                body.get("Tags", ()), body.get("Weights", {}).get("Passing", 1),
            )  # fmt: skip
        elif verb == "deregister":
            self.deregister(id)
        else:
            self.mark(id, body)
        return b""

    def wait(self, request, path, arguments):
        def answer(_=None):
            self.waiting.remove(answer)
            if timer.active():
                timer.cancel()
            if not request._disconnected:
                request.write(self.answered(request, path, arguments))
                request.finish()

        def gone(_):
            if answer in self.waiting:
                self.waiting.remove(answer)
                timer.cancel()

        seconds = float(arguments["wait"][0].removesuffix("s"))
        timer = reactor.callLater(seconds, answer)
        self.waiting.append(answer)
        request.notifyFinish().addErrback(gone)

    def answered(self, request, path, arguments):
        name = path.removeprefix("/v1/health/service/")
        tags = set(arguments.get("tag", ()))
        found = [
            self.entry(one)
            for one in self.services.values()
            if one["Service"] == name and tags <= set(one["Tags"])
            and ("passing" not in arguments or one["status"] == "passing")
        ]  # fmt: skip
        request.setHeader("X-Consul-Index", str(self.index))
        request.setHeader("Content-Type", "application/json")
        return json.dumps(found).encode()

    @staticmethod
    def entry(service):
        status = service["status"]
        return {
            "Node": {"Node": "n1", "Address": "127.0.0.9", "Datacenter": "dc1"},
            "Service": {key: value for key, value in service.items() if key != "status"},
            "Checks": [
                {"CheckID": "serfHealth", "Status": "passing"},
                {"CheckID": f"service:{service['ID']}", "Status": status},
            ],
        }


class QuietSite(Site):
    """Keeps no log."""

    noisy = False

    def log(self, request):
        return


if __name__ == "__main__":
    token = sys.argv[2] if len(sys.argv) > 2 else ""
    reactor.listenTCP(int(sys.argv[1]), QuietSite(ConsulLike(token)), interface="127.0.0.1")
    reactor.run()
