"""
The check C{zookeeper}: a server of an Apache ZooKeeper ensemble serves, and what it is there.

    check = zookeeper busy=100 interval=2s

The server is asked C{srvr} and answers with lines such as C{Outstanding: 3} and C{Mode:
follower} (ZooKeeper Administrator's Guide, "The Four Letter Words"). The mode is its role. The
more requests are outstanding the fewer new clients it gets, and none from C{busy} on.
"""

import attr

from lbtwist.checks import Line, TalkCheck, Unfit
from lbtwist.checks.probe import shown
from lbtwist.health import Admin, Result, roleOf
from lbtwist.interfaces import IHealthCheck
from lbtwist.options import Integer, option
from lbtwist.registry import Extension


class ZooKeeperCheck(TalkCheck):
    """zookeeper [busy=NUMBER]"""

    @attr.frozen
    class Options:
        busy: int = option(Integer(1, 1_000_000), 1000, "So many outstanding requests are many.")

    def talk(self, server):
        yield b"srvr"
        said = {}
        while b"Mode" not in said:
            line = yield Line("mode")
            name, colon, value = line.partition(b": ")
            if not colon:
                # It is starting, has lost the others, or is not to answer this.
                raise Unfit(shown(line), "L7STS")
            said[name] = value
        mode = shown(said[b"Mode"])
        waiting = said.get(b"Outstanding", b"")
        if not waiting.isdigit():
            raise Unfit("it does not say how many requests are outstanding")
        left = 100 - 100 * int(waiting) // self.options.busy
        return Result(
            True, "L7OK", f"its mode is {mode}",
            weight=max(1, left), admin=Admin.READY if left > 0 else Admin.DRAIN,
            role=roleOf(mode) or "",
        )  # fmt: skip


check = Extension(IHealthCheck, "zookeeper", "zookeeper_check.ZooKeeperCheck")
