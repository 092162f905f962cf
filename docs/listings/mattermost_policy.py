"""
The verb C{mattermost}: who may reach a Mattermost server from where.

From inside the organization everybody may. From outside, the organization's own mobile
application may, which sends a header field of its own, and whoever has logged in before,
which two cookies show. Everybody else's connection is reset. Of WebSockets only the first
request is read.

    request =
        mattermost inside=192.168.0.0/24 header=X-The-App value=customvalue

That a cookie is there proves nothing: anybody can send one. What keeps strangers out is
Mattermost itself; this only keeps them from trying.
"""

import attr
from zope.interface import implementer

from lbtwist.interfaces import IRequestRule
from lbtwist.options import FieldName, Kind, Networks, Text, option
from lbtwist.registry import Extension
from lbtwist.rules import tables
from lbtwist.rules.decisions import Refuse, Tunnel
from lbtwist.rules.reading import wire
from lbtwist.sansio.cookies import cookies


class CookieNames(Kind):
    """Names, separated by commas."""

    form = "NAME,NAME"

    def parse(self, text):
        return tuple(FieldName().parse(name.strip()) for name in text.split(","))


@attr.frozen
class Options:
    inside: tuple = option(Networks(), doc="Where everybody may come from.")
    header: str = option(FieldName(), doc="The field that the application sends.")
    value: str = option(Text(), doc="What its value contains.")
    cookies: tuple = option(
        CookieNames(), ("MMAUTHTOKEN", "MMUSERID"), "Those of who has logged in."
    )


REJECT = Refuse("reject")
WEB_SOCKETS = Tunnel("Web Sockets")


@implementer(IRequestRule)
class Policy:
    Options = Options

    def __init__(self, options, context):
        self._inside = tables.Networks(map(str, options.inside))
        self._field = options.header.lower().encode()
        self._value = wire(options.value)
        self._cookies = {wire(name) for name in options.cookies}

    def requestReceived(self, exchange):
        head = exchange.request
        if exchange.connection.client[0] not in self._inside:
            values = head.fields.getAll(self._field)
            if not any(self._value in value for value in values):
                known = self._cookies <= cookies(head.fields.getAll(b"cookie")).keys()
                return None if known else REJECT
        return WEB_SOCKETS if b"websocket" in head.upgrade.lower() else None


verb = Extension(IRequestRule, "mattermost", "mattermost_policy.Policy", waits=False)
