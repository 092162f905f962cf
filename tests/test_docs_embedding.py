"""What docs/embedding.md says of objects and endpoints is so."""

import re
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from lbtwist.interfaces import ILoadBalancer
from lbtwist.objects import EmbeddedRequest
from lbtwist.testing import Balancer

PAGE = (Path(__file__).parent.parent / "docs/embedding.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)


def test_aRegistryOfItsOwn():
    """The listing runs; the part is looked for only where it is named."""
    found = {}
    text = SNIPPETS[0].replace("mymodule.Mine", "lbtwist.balance.First")
    exec(text, found)
    assert found["warnings"] == []
    assert type(found["balancer"].pool("app").balancer).__name__ == "First"


def test_anEndpointByAText():
    with Balancer("[pool app]\nserver a = ${a}\n", "a") as balancer:
        found = {"reactor": balancer.pump}
        exec(SNIPPETS[1], found)
        assert isinstance(found["connected"], Deferred)
        balancer.pump.turn()
        assert found["connected"].called and balancer.running.pool("app").active == 1
    assert len(SNIPPETS) == 2


class Asked(Resource):
    isLeaf = True

    def render_GET(self, request):
        self.request = request
        self.said = {
            expression: eval(expression, {"request": request})
            for expression in re.findall(r"^\| `(request\.[^`]+)`", PAGE, re.M)
        }
        return b""


def test_whatARequestKnows():
    resource = Asked()
    text = "[frontend www]\nbind = ${bind}\npool = app\n[pool app]\nserver a = object:a\n"
    with Balancer(text, objects={"a": resource}) as balancer:
        balancer.client("203.0.113.9", 40000).sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(resource.said) == 6
    assert resource.said["request.getClientAddress()"].host == "203.0.113.9"
    assert resource.said["request.isSecure()"] is False
    assert isinstance(resource.request, EmbeddedRequest)


def test_whatAProgramMayRelyOn():
    names = re.search(r"may rely on: (.*?)\. A frontend", PAGE, re.S)[1]
    for name in re.findall(r"`(\w+)", names):
        assert name in ILoadBalancer
