"""
What servers have in common that do the same job: how one is chosen, how clients come back,
what is tried again, how many wait and for how long.
"""

from __future__ import annotations

import attr

from lbtwist.config.again import CONNECT, Redispatch, RetryOn, Share, Shares
from lbtwist.config.model.fields import SHORT, place
from lbtwist.config.model.named import CheckPart, Notify, Part, RuleLine
from lbtwist.config.model.servers import ServerConfig, ServersConfig
from lbtwist.config.passive import OBSERVE, ON_ERROR, OutlierOptions
from lbtwist.config.sources import Source, Sources, oneClient
from lbtwist.errors import Position
from lbtwist.options import Flag, Integer, Name, Percent, Size, Time, Word, option


def _positive(seconds: float) -> str | None:
    return None if seconds > 0 else "must be more than 0"


@attr.frozen
class PoolConfig:
    """
    C{[pool NAME]}: servers that do the same job.

    @ivar templates: the servers that are not written down, by where they come from.
    """

    name: str
    servers: tuple[ServerConfig, ...] = ()
    templates: tuple[ServersConfig, ...] = ()
    balance: Part = Part("roundrobin", None)
    persist: tuple[Part, ...] = ()
    persist_store: Part = Part("memory", None)
    notify: tuple[Notify, ...] = ()
    check: CheckPart | None = None
    request: tuple[RuleLine, ...] = ()
    response: tuple[RuleLine, ...] = ()
    mode: str = option(
        Word("any", "http", "tcp"), "any", "What its servers speak; any fits every frontend."
    )
    http_reuse: str = option(
        Word("never", "safe", "always"),
        "safe",
        "Whether server connections are used again for other requests.",
    )
    absolute_uri: bool = option(
        Flag(), False, "Requests name the whole URI, as forward proxies want it."
    )
    idle_connections: int = option(
        Integer(0), 256, "Unused connections kept per server."
    )
    idle_timeout: float = option(
        Time(), 30.0, "How long an unused connection to a server is kept."
    )
    idle_age: float = option(
        Time(), 3600.0, "A connection older than this is not kept; 0 is no limit."
    )
    retries: int = option(
        Integer(0, 100), 3, "How often an exchange is tried again after its server failed."
    )
    retry_on: tuple[str, ...] = option(
        RetryOn(), (CONNECT,), "After which failures an exchange is tried again."
    )
    redispatch: int = option(
        Redispatch(), 1, "Whether retries go to another server; a number: each so manieth does."
    )
    retry_buffer: int = option(
        Size(), 16 * 1024, "The longest request body that is kept to be sent again."
    )
    retry_non_idempotent: bool = option(
        Flag(), False, "Send requests again that do not do the same twice, as POST."
    )
    retry_budget: Share | None = option(
        Shares(), Share(), "How much of what is asked may be asked twice; no is no limit."
    )
    hedge_after: float = option(
        Time(), 0.0, "After this time without an answer a second server is asked too; 0 is never."
    )
    maxconn: int = option(
        Integer(0), 0, "Exchanges at once with all of its servers; 0 is no limit."
    )
    fullconn: int = option(
        Integer(0), 0, "With so many exchanges servers have their maxconn; 0: the sum of those."
    )
    queue: Part = Part("fifo", None)
    maxqueue: int = option(
        Integer(0), 0, "The most exchanges that wait for a slot; 0 is no limit."
    )
    maxqueue_per_key: int = option(
        Integer(0), 0, "The most of one key that wait, with queue = fair; 0 is no limit."
    )
    slowstart: float = option(
        Time(), 0.0, "How long a server that came up takes to get all of its share; 0 is at once."
    )
    source: tuple[Source, ...] = option(
        Sources(),
        (),
        "Where connections to servers come from; a server may say otherwise.",
        check=oneClient,
    )
    source_interface: str = option(
        Name(), "", "The interface connections to servers leave by.", check=SHORT
    )
    tcp: str = option(Name(), "", "The [tcp] section for connections to servers.")
    observe: str = option(
        OBSERVE, "none", "Which errors of real traffic count: of connects, or of responses too."
    )
    error_limit: int = option(
        Integer(1), 10, "So many of these errors in a row lead to what on-error says."
    )
    on_error: str = option(
        ON_ERROR, "fail-check", "What errors in a row lead to, besides the next check soon."
    )
    outlier: OutlierOptions | None = None
    panic_threshold: int = option(
        Percent(), 0, "With fewer percent of servers healthy all of them get requests."
    )
    on_marked_down: str = option(
        Word("none", "shutdown-sessions"),
        "none",
        "What happens to the sessions of a server that is marked down.",
    )
    timeout_connect: float = option(
        Time(), 5.0, "How long a connection to a server may take to be made."
    )
    timeout_queue: float = option(
        Time(), 0.0, "How long an exchange waits for a slot; 0 is timeout-connect."
    )
    inspect_delay: float = option(
        Time(),
        5.0,
        "How long the first bytes of a session are waited for, where they say which server.",
        check=_positive,
    )
    timeout_server: float = option(
        Time(), 50.0, "How long a server may neither send nor take anything."
    )
    timeout_server_fin: float = option(
        Time(), 0.0, "timeout-server after the server has ended its side; 0 is timeout-server."
    )
    timeout_tunnel: float = option(
        Time(), 0.0, "How long a tunnel may be silent on both sides; 0: timeout-client and -server."
    )
    where: Position = place()

    @property
    def members(self) -> tuple[ServerConfig, ...]:
        """The servers that are written down, and what those of each source have in common."""
        return (*self.servers, *(template.server for template in self.templates))
