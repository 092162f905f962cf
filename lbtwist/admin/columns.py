"""
The columns of C{show stat}: HAProxy's, in its order (its management guide, 9.1), and what
each is.

Names and numbers only; what stands in them is L{lbtwist.admin.rows}'.
"""

from __future__ import annotations

from collections.abc import Iterator

import attr

ORIGINS = {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"}
NATURES = {
    "A": "Age", "a": "Avg", "C": "Counter", "D": "Duration", "G": "Gauge", "L": "Limit",
    "M": "Max", "N": "Name", "O": "Output", "R": "Rate",
}  # fmt: skip
SCOPES = {"S": "Service", "P": "Process"}
"""What the letters of C{Tag} stand for (HAProxy's management guide, 9.2)."""


@attr.frozen
class Column:
    """
    One column.

    @ivar position: from 0 on.
    @ivar tag: three letters: of L{ORIGINS}, L{NATURES} and L{SCOPES}.
    @ivar type: C{str}, C{u32}, C{s32} or C{u64}.
    """

    position: int
    name: str
    tag: str
    type: str

    @property
    def tags(self) -> dict[str, str]:
        """The words for the letters."""
        origin, nature, scope = tuple(self.tag)
        return {"origin": ORIGINS[origin], "nature": NATURES[nature], "scope": SCOPES[scope]}


# Names after TAG:TYPE, in the order of HAProxy 3.0; of 2.6 it is the beginning.
_WRITTEN = """
KNS:str pxname svname
MGP:u32 qcur MMP:u32 qmax MGP:u32 scur MMP:u32 smax CLP:u32 slim MCP:u64 stot bin bout
    dreq dresp ereq econ eresp wretr wredis
SGP:str status MaP:u32 weight SGP:u32 act bck
MCP:u64 chkfail chkdown MAP:u32 lastchg MCP:u32 downtime CLP:u32 qlimit
KGP:u32 pid KGS:u32 iid sid MaP:u32 throttle MCP:u64 lbtot CNS:str tracked CGS:u32 type
MRP:u32 rate CLP:u32 rate_lim MMP:u32 rate_max
MOP:str check_status MOP:u32 check_code MDP:u64 check_duration
MCP:u64 hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx hrsp_5xx hrsp_other hanafail
MRP:u32 req_rate MMP:u32 req_rate_max MCP:u64 req_tot cli_abrt srv_abrt
    comp_in comp_out comp_byp comp_rsp
MAP:s32 lastsess MOP:str last_chk last_agt MaP:u32 qtime ctime rtime ttime
MOP:str agent_status MOP:u32 agent_code MDP:u64 agent_duration MOP:str check_desc agent_desc
CGS:u32 check_rise check_fall check_health agent_rise agent_fall agent_health
CGS:str addr CNS:str cookie CGS:str mode algo
MRP:u32 conn_rate MMP:u32 conn_rate_max MCP:u64 conn_tot intercepted dcon dses wrew
    connect reuse cache_lookups cache_hits
MGP:u32 srv_icur CLP:u32 src_ilim MMP:u32 qtime_max ctime_max rtime_max ttime_max MCP:u64 eint
MGP:u32 idle_conn_cur safe_conn_cur used_conn_cur need_conn_est MaP:u32 uweight
MGP:u32 agg_server_status agg_server_check_status agg_check_status
KNS:str srid
MCP:u64 sess_other h1sess h2sess h3sess req_other h1req h2req h3req CGS:str proto
MOP:str - MCP:u64 ssl_sess ssl_reused_sess ssl_failed_handshake
"""


def _read(written: str) -> Iterator[Column]:
    tag = kind = ""
    position = 0
    for word in written.split():
        if ":" in word:
            tag, _, kind = word.partition(":")
        else:
            yield Column(position, word, tag, kind)
            position += 1


COLUMNS = {column.name: column for column in _read(_WRITTEN)}
"""All of them by name, in their order."""
