"""
What of a limit for all workers is one's own. The shares of all of them are the limit, so that
it is never exceeded; who has more to do than its share waits, though another one has room.

Where there are more workers than a limit has places each of them gets one: a limit of nothing
would be none.
"""

from __future__ import annotations

import attr

from lbtwist.config.model import Config


@attr.frozen
class Share:
    """
    @ivar index: which of the workers, from 0 on.
    @ivar count: how many there are.
    """

    index: int
    count: int

    def __call__(self, limit: int) -> int:
        """
        @param limit: 0 is none.
        @return: the part of it.
        """
        if not limit:
            return 0
        return max(1, limit // self.count + (self.index < limit % self.count))

    def of(self, config: Config) -> Config:
        """@return: what a worker goes by: its share of all limits, and none of the parent's."""
        settings = attr.evolve(
            config.settings, maxconn=self(config.settings.maxconn),
            max_handshakes=self(config.settings.max_handshakes), admin=(), workers=0,
            statsd=(), graphite=(),
        )  # fmt: skip
        frontends = {
            name: attr.evolve(one, maxconn=self(one.maxconn))
            for name, one in config.frontends.items()
        }
        pools = {
            name: attr.evolve(
                one, maxconn=self(one.maxconn), maxqueue=self(one.maxqueue),
                fullconn=self(one.fullconn), templates=(),
                servers=tuple(
                    attr.evolve(
                        server, maxconn=self(server.maxconn), minconn=self(server.minconn)
                    )
                    for server in one.servers
                ),
            )
            for name, one in config.pools.items()
        }  # fmt: skip
        return attr.evolve(config, settings=settings, frontends=frontends, pools=pools)
