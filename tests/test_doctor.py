"""
C{lbtwist doctor}: on machines that are made up, on certificates and servers that are
real, and as the command.
"""

import contextlib
import json
import os
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from authority import Authority, pem, responder
from cryptography.hazmat.primitives import serialization

from lbtwist.command import main
from lbtwist.config.load import loadText
from lbtwist.config.model import Config
from lbtwist.doctor import asJSON, asText, diagnose
from lbtwist.doctor.facts import Facts
from lbtwist.doctor.files import checkCertificates, checkFiles
from lbtwist.doctor.probes import checkServers
from lbtwist.doctor.system import checkAddresses, checkInterfaces, checkLimits, checkPrivileges
from lbtwist.doctor.talk import converse
from lbtwist.doctor.transparent import checkTransparent
from lbtwist.doctor.user import checkUser
from lbtwist.registry import installed

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Machine(Facts):
    """
    A machine that is made up.

    @ivar files: contents by path; with L{None} it is a directory.
    @ivar printed: what commands print; a command that is not there is missing.
    @ivar answers: what a server answers: bytes or an exception, by whether a PROXY header
        came first.
    """

    def __init__(self, files=(), printed=(), answers=None, modes=()):
        self.contents = {
            "/proc/self/status": "Name:\tx\nCapEff:\t000001ffffffffff\n",
            "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999",
            "/proc/sys/net/core/somaxconn": "4096",
            **dict(files),
        }
        self.printed = dict(printed)
        self.answers = answers
        self.modes = dict(modes)
        self.descriptors = 65536
        self.asked = []

    def read(self, path):
        found = self.contents.get(path)
        return found.encode() if isinstance(found, str) else found

    def run(self, *command):
        return self.printed.get(" ".join(command))

    def mode(self, path):
        if path in self.modes:
            return self.modes[path]
        if path not in self.contents:
            return None
        return stat.S_IFDIR | 0o755 if self.contents[path] is None else stat.S_IFREG | 0o600

    def names(self, directory):
        prefix = directory.rstrip("/") + "/"
        return sorted(p.removeprefix(prefix) for p in self.contents if p.startswith(prefix))

    def writable(self, path):
        return bool((self.mode(path) or 0) & 0o200)

    def files(self):
        return self.descriptors

    def now(self):
        return NOW.timestamp()

    def release(self):
        return "6.1.0-18-amd64"

    def resolve(self, host, port):
        if host.endswith(".invalid"):
            raise socket.gaierror(-2, "Name or service not known")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [(family, (host, port))]

    def converse(self, family, address, data, tls, seconds):
        self.asked.append((data, tls, seconds))
        answer = self.answers[not data.startswith(b"OPTIONS")]
        if isinstance(answer, Exception):
            raise answer
        return answer


def config(text="", bind=":8080", servers="server a = 127.0.0.1:8001", pool="", frontend=""):
    found, _ = loadText(
        f"{text}\n[frontend www]\nbind = {bind}\npool = app\n{frontend}\n"
        f"[pool app]\n{servers}\n{pool}\n", installed(), "/etc/lb/lb.ini",
    )  # fmt: skip
    return found


def said(check, about, machine):
    return [(item.state, item.what) for item in check(about, machine)]


def states(check, about, machine):
    return [item.state for item in check(about, machine)]


def mends(check, about, machine):
    return [item.mend for item in check(about, machine) if item.state == "missing"]


def sysctl(name, value):
    return {f"/proc/sys/{name.replace('.', '/')}": str(value)}


# another user

AS_NOBODY = "runuser -u nobody --"


def asNobody(*tests, **facts):
    """@return: a machine where the user nobody may do so much."""
    return Machine(printed={f"{AS_NOBODY} {test}": "" for test in ("true", *tests)}, **facts)


def test_anotherUser():
    about = config(
        "[tls site]\ncertificate = site.pem\nclient-ca = ca.pem\n[global]\nlog = file:access.log\n"
        "admin = unix:lb.sock, web:127.0.0.1:8404 tokens=tokens", bind=":8443 tls=site",
    )  # fmt: skip
    machine = asNobody("test -r /etc/lb/ca.pem", "test -w /etc/lb")
    found = list(checkUser(about, machine, "nobody"))
    assert [(item.state, item.what) for item in found] == [
        ("missing", "nobody cannot read /etc/lb/site.pem, nor what is changed in it later"),
        ("ok", "nobody can read /etc/lb/ca.pem"),
        ("missing", "nobody cannot read /etc/lb/tokens, nor what is changed in it later"),
        ("ok", "nobody can write log /etc/lb/access.log"),
        ("ok", "nobody can make and remove /etc/lb/lb.sock"),
    ]
    assert found[0].mend.startswith("setfacl -m u:nobody:r /etc/lb/site.pem")
    # Of a log that is there already the file counts.
    machine.modes["/etc/lb/access.log"] = stat.S_IFREG | 0o640
    found = list(checkUser(about, machine, "nobody"))
    assert found[3].mend == "chown nobody /etc/lb/access.log"


def test_anotherUserOfWhomNothingIsKnown():
    item, = checkUser(config(), Machine(), "nobody")
    assert (item.state, item.what) == ("look", "what nobody may do cannot be found out")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
def test_aRealUser(tmp_path, capsys):
    path = tmp_path / "lb.ini"
    path.write_text(
        f"[frontend www]\nbind = unix:{tmp_path}/www.sock\npool = app\n"
        "[pool app]\nserver one = demo:one\n"
    )
    main(["doctor", "--config", str(path), "--user", "nobody"])
    said = capsys.readouterr().out
    assert f"MISSING  nobody can neither make nor remove {tmp_path}/www.sock" in said
    tmp_path.chmod(0o700)
    main(["doctor", "--config", str(path), "--user", "root"])
    assert f"OK       root can make and remove {tmp_path}/www.sock" in capsys.readouterr().out


# privileges and limits


NOBODY = {"/proc/self/status": "CapEff:\t0000000000000000\n"}


def test_whatNeedsNoPrivilegeAsksForNone():
    assert said(checkPrivileges, config(), Machine(NOBODY)) == []


def tracking(most):
    return Machine(sysctl("net.netfilter.nf_conntrack_max", most))


def test_trackedConnections():
    about = config("[global]\nmaxconn = 1000")
    assert [s for s in said(checkLimits, about, Machine()) if "tracked" in s[1]] == []
    assert ("ok", "2000 connections are tracked, enough for maxconn = 1000") in said(
        checkLimits, about, tracking(2000)
    )
    assert mends(checkLimits, about, tracking(1999)) == [
        "sysctl -w net.netfilter.nf_conntrack_max=4000"
    ]


def test_connectionsThatHaveBegun():
    short = sysctl("net.ipv4.tcp_max_syn_backlog", 128)
    about = config("[global]\nmaxconn = 1000")
    # With cookies the kernel keeps nothing of them.
    assert mends(checkLimits, about, Machine(short | sysctl("net.ipv4.tcp_syncookies", 1))) == []
    assert mends(checkLimits, about, Machine(short | sysctl("net.ipv4.tcp_syncookies", 0))) == [
        "sysctl -w net.ipv4.tcp_syncookies=1"
    ]


def test_lowPorts():
    about = config(bind=":80")
    assert states(checkPrivileges, about, Machine()) == ["ok"]
    mend, = mends(checkPrivileges, about, Machine(NOBODY))
    assert "cap_net_bind_service+ep" in mend
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in mend
    allowed = sysctl("net.ipv4.ip_unprivileged_port_start", 0)
    assert said(checkPrivileges, about, Machine({**NOBODY, **allowed})) == []


@pytest.mark.parametrize(
    ("about", "bits", "state"),
    [
        (config(bind="1.1.1.1:8080 transparent"), 0, "missing"),
        (config(bind="1.1.1.1:8080 transparent"), 1 << 12, "ok"),
        (config(bind="1.1.1.1:8080 transparent"), 1 << 13, "ok"),
        (config(pool="source = clientip"), 1 << 10, "missing"),
        (config(pool="source = clientip"), 1 << 12, "ok"),
    ],
)
def test_addressesOfOthersTakeACapability(about, bits, state):
    machine = Machine({"/proc/self/status": f"CapEff:\t{bits:016x}\n"})
    assert states(checkPrivileges, about, machine) == [state]


def test_interfacesTakeOneBeforeLinux5_7():
    about = config(bind=":8080 interface=eth2")
    old = Machine(NOBODY)
    old.release = lambda: "5.4.0-100-generic"
    assert states(checkPrivileges, about, Machine(NOBODY)) == []
    assert states(checkPrivileges, about, old) == ["missing"]


def test_unknownCapabilities():
    assert states(checkPrivileges, config(), Machine({"/proc/self/status": ""})) == ["look"]


def test_descriptors():
    about = config("[global]\nmaxconn = 10000")
    machine = Machine()
    assert "65536 descriptors are enough for maxconn = 10000" in said(
        checkLimits, about, machine)[0]  # fmt: skip
    machine.descriptors = 1024
    assert mends(checkLimits, about, machine)[0].startswith("ulimit -n 20065")
    assert states(checkLimits, config(), machine)[0] == "look"


def test_aBacklogThatIsCut():
    machine = Machine(sysctl("net.core.somaxconn", 128))
    assert "sysctl -w net.core.somaxconn=4096" in mends(checkLimits, config(), machine)


def test_sourcePorts():
    text = "[global]\nmaxconn = 30000"
    wanted = "not enough for 30000 connections to app/a"
    assert any(wanted in what for _, what in said(checkLimits, config(text), Machine()))
    for enough in ("source = 10.0.0.1, 10.0.0.2", "source = clientip"):
        assert mends(checkLimits, config(text, pool=enough), Machine()) == []
    narrow = config(text, pool="source = 10.0.0.1:20000-20009")
    assert any("10 source ports are not" in what for _, what in said(
        checkLimits, narrow, Machine()))  # fmt: skip


def test_whatATCPSectionNames():
    text = "[tcp lan]\ncongestion = bbr\nfastopen = 64\nsend-buffer = 1m\nreceive-buffer = 1m"
    about = config(text, bind=":8080 tcp=lan")
    machine = Machine({
        **sysctl("net.ipv4.tcp_available_congestion_control", "reno cubic"),
        **sysctl("net.ipv4.tcp_fastopen", 1),
        **sysctl("net.core.wmem_max", 212992), **sysctl("net.core.rmem_max", 4194304),
    })  # fmt: skip
    assert mends(checkLimits, about, machine) == [
        "modprobe tcp_bbr", "sysctl -w net.ipv4.tcp_fastopen=3",
        "sysctl -w net.core.wmem_max=1048576",
    ]  # fmt: skip


# interfaces and addresses


ETH2 = {"/sys/class/net/eth2/operstate": "up", "/sys/class/net/lo/operstate": "unknown"}
ROUTE = "ip -4 route get 192.0.2.1 oif eth2"


def test_anInterfaceThatIsThere():
    machine = Machine(ETH2, {ROUTE: "192.0.2.1 via 10.0.2.1 dev eth2 src 10.0.2.3 uid 0\n"})
    about = config(bind="10.0.2.3:443 interface=eth2", pool="source-interface = eth2")
    assert states(checkInterfaces, about, machine) == ["ok"] * 3


def test_anInterfaceThatIsNot():
    (item,) = checkInterfaces(config(bind=":443 interface=eth9"), Machine(ETH2))
    assert item.state == "missing"
    assert "there is no interface eth9" in item.what


def test_anInterfaceThatDropsAndHasNoWayOut():
    machine = Machine(
        {**ETH2, **sysctl("net.ipv4.conf.all.rp_filter", 1)},
        {ROUTE: "192.0.2.1 dev eth2 src 10.0.2.3 uid 0\n"},
    )
    items = list(checkInterfaces(config(bind=":443 interface=eth2"), machine))
    assert [item.state for item in items] == ["ok", "missing", "look"]
    assert items[1].mend == "sysctl -w net.ipv4.conf.eth2.rp_filter=2"
    assert items[2].mend.startswith("ip route add default via GATEWAY dev eth2")


ADDRESSES = {"ip -o addr show": "1: lo inet 127.0.0.1/8 scope host lo\n2: eth0 inet 10.0.0.1/24\n"}


def test_addresses():
    about = config(
        bind="10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80 freebind, 1.1.1.1:80 transparent, :81",
        pool="source = 10.0.0.1, 10.0.0.9",
    )
    machine = Machine(printed=ADDRESSES)
    assert states(checkAddresses, about, machine) == ["ok", "missing", "ok", "ok", "missing"]
    bind, source = mends(checkAddresses, about, machine)
    assert bind.startswith("sysctl -w net.ipv4.ip_nonlocal_bind=1")
    assert source == "ip address add 10.0.0.9/32 dev INTERFACE"
    machine.contents.update(sysctl("net.ipv4.ip_nonlocal_bind", 1))
    assert states(checkAddresses, about, machine)[1] == "ok"
    assert states(checkAddresses, about, Machine()) == ["look"]


# the how-to's list


KERNEL = "CONFIG_IP_MULTIPLE_TABLES=y\nCONFIG_NETFILTER_XT_MATCH_SOCKET=m\n"
TPROXY = "CONFIG_NETFILTER_XT_TARGET_TPROXY=m\n"
RULES = """\
*mangle
:DIVERT - [0:0]
-A PREROUTING -p tcp -m socket --transparent -j DIVERT
-A PREROUTING -p tcp -m tcp --dport 80 -j TPROXY --on-port 80 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1
-A DIVERT -j MARK --set-xmark 0x1/0xffffffff
-A DIVERT -j ACCEPT
"""
NFT = """\
table inet lbtwist {
    chain prerouting {
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto tcp socket transparent 1 meta mark set 0x00000001 accept
        meta nfproto ipv4 tcp dport 80 tproxy ip to :80 meta mark set 0x00000001 accept
    }
}
"""
SET_UP = {
    "ip -4 rule show": "0: from all lookup local\n32765: from all fwmark 0x1 lookup 100\n",
    "ip -4 route show table 100": "local default dev lo scope host \n",
}
FORWARDING = {
    **sysctl("net.ipv4.ip_forward", 1), **sysctl("net.ipv4.ip_nonlocal_bind", 0),
    "/proc/config.gz": KERNEL + TPROXY,
}  # fmt: skip
CAUGHT = config(bind="1.1.1.1:80 transparent")


@pytest.mark.parametrize(
    "rules", [{"iptables-save -t mangle": RULES}, {"nft list ruleset": NFT}]
)
def test_everythingIsSetUp(rules):
    """Row 003.10: each item is OK."""
    machine = Machine(FORWARDING, {**SET_UP, **rules})
    assert set(states(checkTransparent, CAUGHT, machine)) == {"ok"}


def test_nothingIsSetUp():
    """Row 003.10: each item is missing, with the command."""
    machine = Machine(
        {"/boot/config-6.1.0-18-amd64": "CONFIG_NET=y\n"},
        {"ip -4 rule show": "0: from all lookup local\n", "iptables-save -t mangle": "*mangle\n"},
    )
    assert mends(checkTransparent, CAUGHT, machine)[-5:] == [
        "sysctl -w net.ipv4.ip_forward=1",
        "ip rule add fwmark 1 lookup 100",
        "ip route add local 0.0.0.0/0 dev lo table 100",
        "iptables -t mangle -N DIVERT && iptables -t mangle -A DIVERT -j MARK --set-mark 1"
        " && iptables -t mangle -A DIVERT -j ACCEPT"
        " && iptables -t mangle -I PREROUTING -p tcp -m socket --transparent -j DIVERT",
        "iptables -t mangle -A PREROUTING -p tcp -d 1.1.1.1 --dport 80 -j TPROXY"
        " --tproxy-mark 0x1/0x1 --on-port 80",
    ]
    text = asText(checkTransparent(CAUGHT, machine))
    assert "the kernel has no CONFIG_NETFILTER_XT_TARGET_TPROXY or CONFIG_NFT_TPROXY" in text
    assert text.endswith("8 missing")


@pytest.mark.parametrize(
    ("left", "mend"),
    [
        ("ip -4 route show table 100", "ip route add local 0.0.0.0/0 dev lo table 100"),
        ("ip -4 rule show", "apt-get install iproute2"),
        ("iptables-save -t mangle", "apt-get install iptables"),
    ],
)
def test_eachPieceIsMissed(left, mend):
    """Row 003.10: and one by one."""
    printed = {**SET_UP, "iptables-save -t mangle": RULES}
    del printed[left]
    assert mends(checkTransparent, CAUGHT, Machine(FORWARDING, printed)) == [mend]


def test_anotherPortIsNotCaught():
    printed = {**SET_UP, "iptables-save -t mangle": RULES.replace("--on-port 80", "--on-port 8080")}
    (mend,) = mends(checkTransparent, CAUGHT, Machine(FORWARDING, printed))
    assert "TPROXY" in mend


def test_aLocalRouteDoesWithoutRules():
    machine = Machine(
        FORWARDING, {"ip route get 1.1.1.1": "local 1.1.1.1 dev lo src 1.1.1.1 uid 0\n"}
    )
    assert set(states(checkTransparent, CAUGHT, machine)) == {"ok"}


def test_sourcesOfClientsNeedNoTPROXY():
    rules = {"iptables-save -t mangle": "-A PREROUTING -p tcp -m socket --transparent -j DIVERT\n"}
    machine = Machine({**FORWARDING, "/proc/config.gz": KERNEL}, {**SET_UP, **rules})
    assert set(states(checkTransparent, config(pool="source = clientip"), machine)) == {"ok"}


def test_aFieldThatNobodyIsBelieved():
    about = config(pool="source = hdr_ip(x-forwarded-for)")
    assert "write trusted-proxies = NETWORKS in the frontend" in mends(
        checkTransparent, about, Machine(FORWARDING, SET_UP)
    )


def test_iPv6HasItsOwn():
    about = config(bind="[2001:db8::1]:80 transparent")
    machine = Machine(printed={"ip -6 rule show": "", "ip6tables-save -t mangle": ""})
    found = mends(checkTransparent, about, machine)
    assert "sysctl -w net.ipv6.conf.all.forwarding=1" in found
    assert "ip -6 rule add fwmark 1 lookup 100" in found
    assert "ip -6 route add local ::/0 dev lo table 100" in found
    assert any(mend.startswith("ip6tables -t mangle -N DIVERT") for mend in found)


def test_anUnknownKernel():
    assert states(checkTransparent, CAUGHT, Machine())[0] == "look"


def test_nothingTransparentIsNothing():
    assert said(checkTransparent, config(), Machine()) == []


# files


def test_socketsAndLogs():
    about = config(
        bind="unix:/run/lb/www.sock, unix:/gone/www.sock",
        servers="server a = unix:/run/a.sock\nserver b = unix:/run/b.sock",
        frontend="log = file:/log/a.log, file:/log/b.log, file:/none/c.log",
    )
    machine = Machine(
        {"/run/lb": None, "/log": None, "/log/a.log": ""},
        modes={"/run/a.sock": stat.S_IFSOCK | 0o600, "/log": stat.S_IFDIR | 0o555},
    )
    items = list(checkFiles(about, machine))
    assert [item.state for item in items] == [
        "ok", "missing", "ok", "missing", "ok", "missing", "missing",
    ]  # fmt: skip
    assert items[1].mend == "mkdir -p /gone"
    assert items[5].mend == "chown $(id -un) /log"


def test_filesOfTheProcess():
    about = config(
        "[global]\nadmin = unix:/run/lb/lb.sock, web:127.0.0.1:8404 tokens=/tokens\n"
        "audit = file:/none/audit.log\nevent-log = file:/log/events.log",
        frontend="log = unix:/dev/log, tcp:10.0.0.9:514",
    )
    items = list(checkFiles(about, Machine({"/run/lb": None, "/log": None})))
    assert [(item.state, item.what) for item in items] == [
        ("ok", "admin unix:/run/lb/lb.sock: /run/lb can be written"),
        ("ok", "log /log/events.log: /log can be written"),
        ("missing", "log /none/audit.log: there is no directory /none"),
    ]


def certified(expires=365, begins=-10):
    authority = trustme.CA()
    return authority, authority.issue_cert(
        "www.example.com", not_before=NOW + timedelta(begins), not_after=NOW + timedelta(expires)
    )


def chained(leaf, authority, key=None):
    parts = [one.bytes().decode() for one in leaf.cert_chain_pems]
    key = leaf.private_key_pem.bytes().decode() if key is None else key
    return "".join([*parts, authority.cert_pem.bytes().decode(), key])


def withTLS(path="/c.pem", more=""):
    return config(f"[tls site]\ncertificate = {path}\n{more}", bind=":8443 tls=site")


def test_whatSyslogServersAreShown():
    authority, leaf = certified(expires=1)
    about = config(frontend="log = tls:10.0.0.9:6514 sni=logs.test certificate=/c.pem ca=/ca.pem")
    machine = Machine({"/c.pem": chained(leaf, authority)})
    found = [one.what for one in checkCertificates(about, machine) if one.state == "missing"]
    assert found[-1] == "log tls:10.0.0.9:6514 ca: /ca.pem has no certificate in PEM form"
    assert found[0].startswith("log tls:10.0.0.9:6514 /c.pem: ")


def test_aGoodCertificate():
    authority, leaf = certified()
    machine = Machine({"/c.pem": chained(leaf, authority)})
    assert states(checkCertificates, withTLS(), machine) == ["ok"] * 4


def test_theKeyMayBeBesideOrNamed():
    authority, leaf = certified()
    key = leaf.private_key_pem.bytes()
    files = {"/c.pem": chained(leaf, authority, ""), "/c.key": key, "/k": key}
    for about in (withTLS(), withTLS(more="key = /k")):
        assert states(checkCertificates, about, Machine(files)) == ["ok"] * 4


def test_aDirectory():
    authority, leaf = certified()
    text = chained(leaf, authority)
    machine = Machine({"/d": None, "/d/a.pem": text, "/d/b.crt": text, "/d/README": "x"})
    assert states(checkCertificates, withTLS("/d"), machine) == ["ok"] * 8
    (mend,) = mends(checkCertificates, withTLS("/d"), Machine({"/d": None}))
    assert mend == "ls /d"


def test_aKeyThatEverybodyReads():
    authority, leaf = certified()
    machine = Machine({"/c.pem": chained(leaf, authority)}, modes={"/c.pem": 0o100644})
    assert mends(checkCertificates, withTLS(), machine) == ["chmod o-rwx /c.pem"]


def test_aKeyOfAnother():
    authority, leaf = certified()
    other = certified()[1].private_key_pem.bytes().decode()
    machine = Machine({"/c.pem": chained(leaf, authority, other)})
    assert any("does not belong" in what for _, what in said(
        checkCertificates, withTLS(), machine))  # fmt: skip


@pytest.mark.parametrize(
    ("expires", "begins", "words"),
    [
        (-1, -10, "it has expired on 2026-05-31"),
        (13, -10, "it expires in 13 days, on 2026-06-14"),
        (90, 2, "it is valid from 2026-06-03 only"),
    ],
)
def test_dates(expires, begins, words):
    authority, leaf = certified(expires, begins)
    machine = Machine({"/c.pem": chained(leaf, authority)})
    state, what = said(checkCertificates, withTLS(), machine)[-1]
    assert (state, words in what) == ("missing", True)


def test_aChainThatIsNotComplete():
    authority = trustme.CA()
    between = authority.create_child_ca()
    leaf = between.issue_cert("www.example.com", not_after=NOW + timedelta(90),
                              not_before=NOW - timedelta(1))  # fmt: skip
    alone = leaf.cert_chain_pems[0].bytes() + leaf.private_key_pem.bytes()
    (mend,) = mends(checkCertificates, withTLS(), Machine({"/c.pem": alone}))
    assert mend.startswith("cat INTERMEDIATE.pem >> /c.pem")
    with_ = between.cert_pem.bytes() + alone
    assert "look" in states(checkCertificates, withTLS(), Machine({"/c.pem": with_}))
    store = {"/etc/ssl/certs/ca-certificates.crt": authority.cert_pem.bytes()}
    found = states(checkCertificates, withTLS(), Machine({"/c.pem": with_, **store}))
    assert "look" not in found


def test_aKeyWithAPassword():
    authority, leaf = certified()
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()  # fmt: skip
    files = {"/c.pem": chained(leaf, authority, locked), "/p": "secret\n", "/q": "wrong\n"}
    machine = Machine(files)
    about = withTLS(more="key-password-file = /p")
    assert states(checkCertificates, about, machine) == ["ok"] * 4
    for more, words in (
        ("key-password-file = /q", "the password does not open"), ("", "the key is encrypted"),
    ):  # fmt: skip
        found = said(checkCertificates, withTLS(more=more), machine)
        assert any(state == "missing" and words in what for state, what in found)


@pytest.mark.parametrize("text", [None, "", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_whatIsNoCertificate(text):
    machine = Machine({} if text is None else {"/c.pem": text})
    assert states(checkCertificates, withTLS(), machine) == ["missing"]


def test_ocsp():
    """Who fetches responses needs somebody to ask, and the certificate of the issuer."""
    authority = Authority()
    url = "http://ocsp.test/"
    end = NOW + timedelta(90)
    asked, silent = (
        authority.issue("a", begin=NOW, end=end, extensions=more)
        for more in ([responder(url)], [])
    )
    about = withTLS(more="ocsp = fetch")

    def last(issued, **files):
        machine = Machine({"/c.pem": issued.pem(), **files})
        return list(checkCertificates(about, machine))[-1]

    found = last(asked)
    assert found.state == "missing" and "certificate of its issuer" in found.what
    assert found.mend == "cat ISSUER.pem > /c.pem.issuer  # CN=Test Authority"
    issuer = {"/c.pem.issuer": pem(authority.certificate)}
    assert str(last(asked, **issuer)).endswith(f"its OCSP response is fetched from {url}")
    found = last(silent)
    assert found.state == "look" and "names no OCSP responder" in found.what


def test_expiryOfWhatServersAreShown():
    authority, leaf = certified(13)
    about = config("", servers="server a = 127.0.0.1:8001 tls sni=a certificate=/c.pem")
    machine = Machine({"/c.pem": chained(leaf, authority)})
    state, what = said(checkCertificates, about, machine)[-1]
    assert state == "missing"
    assert what.startswith("server app/a /c.pem: it expires in 13 days")


def test_authoritiesOfACollector():
    about = config("[global]\notlp = https://h:4318/v1/traces ca=/gone.pem")
    (mend,) = mends(checkCertificates, about, Machine({}))
    assert mend == "openssl x509 -in /gone.pem -noout"


def test_authoritiesAndServers():
    authority, leaf = certified()
    about = config(
        "[tls site]\ncertificate = /c.pem\nclient-verify = required\nclient-ca = /ca.pem",
        bind=":8443 tls=site",
        servers="server a = 127.0.0.1:8001 tls sni=a ca=/gone.pem certificate=/c.pem",
    )
    files = {"/c.pem": chained(leaf, authority), "/ca.pem": authority.cert_pem.bytes()}
    (mend,) = mends(checkCertificates, about, Machine(files))
    assert mend == "openssl x509 -in /gone.pem -noout"


# servers


GOOD, BAD = b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad"


@pytest.mark.parametrize(
    ("send", "answers", "state", "words"),
    [
        ("", (GOOD, BAD), "ok", "answers without a PROXY header only"),
        ("", (GOOD, GOOD), "ok", "answers with a PROXY header and without"),
        ("", (b"", GOOD), "missing", "answers with a PROXY header (v1) only"),
        ("", (BAD, GOOD), "missing", "answers with a PROXY header (v1) only"),
        ("send-proxy=v2", (b"", GOOD), "ok", "answers with a PROXY header (v2) only"),
        ("send-proxy=v1", (GOOD, BAD), "missing", "answers without a PROXY header only"),
        ("", (b"", b""), "missing", "closes, with a PROXY header (v1) and without"),
        ("", (TimeoutError(), TimeoutError()), "look", "says nothing in 2 s"),
        ("", (TimeoutError(), GOOD), "missing", "answers with a PROXY header (v1) only"),
        ("", (b"220 mail ESMTP", b""), "ok", "answers without a PROXY header only"),
        ("", (ConnectionResetError(104, "Connection reset by peer"), GOOD), "missing", "(v1) only"),
        ("", (ConnectionRefusedError(111, "Connection refused"),) * 2, "missing", "refused"),
    ],
)
def test_whichAServerAnswers(send, answers, state, words):
    machine = Machine(answers=answers)
    (item,) = checkServers(config(servers=f"server a = 10.0.0.1:80 {send}"), machine)
    assert item.state == state
    assert words in item.what
    if "v1) only" in words and state == "missing":
        assert item.mend == "add send-proxy=v1 to it"


def test_whatAServerIsAsked():
    machine = Machine(answers=(GOOD, GOOD))
    about = config(servers="server a = 10.0.0.1:80\nserver b = [2001:db8::1]:443 tls sni=x.example")
    assert states(checkServers, about, machine) == ["ok", "ok"]
    sent = {(data.split(b"OPTIONS")[0], tls, seconds) for data, tls, seconds in machine.asked}
    assert sent == {
        (b"", None, 2.0), (b"PROXY TCP4 127.0.0.1 10.0.0.1 1 80\r\n", None, 2.0),
        (b"", "x.example", 2.0), (b"PROXY TCP6 ::1 2001:db8::1 1 443\r\n", "x.example", 2.0),
    }  # fmt: skip


def test_aNameThatIsNot():
    (item,) = checkServers(config(servers="server a = x.invalid:80"), Machine())
    assert item.mend == "getent hosts x.invalid"


@contextlib.contextmanager
def answering(*replies):
    """A server that closes after what it is told to answer; it reads first."""
    skt = socket.create_server(("127.0.0.1", 0))
    skt.settimeout(10)

    def serve():
        for reply in replies:
            peer, _ = skt.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield skt.getsockname()
    finally:
        thread.join()
        skt.close()


def test_realServers():
    with answering(b"", GOOD) as (host, port):
        (item,) = checkServers(config(servers=f"server a = {host}:{port}"), Facts())
    assert "answers with a PROXY header (v1) only" in item.what


def test_aRealServerWithTLSAfterTheHeader():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("x.example").configure_cert(context)
    header = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        got = []

        def serve():
            peer, _ = listening.accept()
            with peer:
                got.append(peer.recv(len(header)))
                with context.wrap_socket(peer, server_side=True) as wrapped:
                    got.append(wrapped.recv(100))
                    wrapped.sendall(GOOD)

        thread = threading.Thread(target=serve)
        thread.start()
        request = b"OPTIONS * HTTP/1.1\r\n\r\n"
        address = listening.getsockname()
        answer = converse(socket.AF_INET, address, header + request, "x.example", 5.0)
        thread.join()
    assert (got, answer) == ([header, request], GOOD)


def test_aRealServerThatIsSilent():
    with socket.create_server(("127.0.0.1", 0)) as skt, pytest.raises(TimeoutError):
        converse(socket.AF_INET, skt.getsockname(), b"OPTIONS * HTTP/1.1\r\n\r\n", None, 0.1)


# the command


def write(tmp_path, text):
    path = tmp_path / "lb.ini"
    path.write_text(text)
    return str(path)


def demo(tmp_path):
    return write(
        tmp_path, "[global]\nmaxconn = 10\n[frontend www]\nbind = 127.0.0.1:8080 backlog=64\n"
        "pool = app\n[pool app]\nserver one = demo:one\n",
    )  # fmt: skip


def test_allIsThere(tmp_path, capsys):
    assert main(["doctor", "--config", demo(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "descriptors are enough for maxconn = 10" in out
    assert out.endswith(": all that is needed is there\n")


def test_somethingIsMissing(tmp_path, capsys):
    text = "[frontend www]\nbind = 127.0.0.1:8080 interface=no-such-if\npool = app\n"
    path = write(tmp_path, f"{text}[pool app]\nserver one = demo:one\n")
    assert main(["doctor", "--config", path, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    wrong = [item for item in found if item["state"] == "missing"]
    assert "there is no interface no-such-if" in wrong[-1]["what"]
    assert set(wrong[0]) == {"state", "what", "mend"}


def test_aConfigurationThatCannotBeRead(tmp_path, capsys):
    assert main(["doctor", "--config", str(tmp_path / "none.ini")]) == 1
    assert "none.ini" in capsys.readouterr().err


def test_aCommandLineThatMakesNoSense(capsys):
    assert main(["doctor", "--nonsense"]) == 2


def test_thisMachine():
    facts = Facts()
    assert facts.number("net.core.somaxconn") >= 1
    assert facts.read("/no/such/file") is None
    assert facts.run("no-such-program") is None
    assert facts.run("false") is None
    assert facts.mode("/") and facts.directory("/")
    assert facts.names("/no/such") == []
    assert facts.files() > 0
    assert facts.release() == os.uname().release
    assert diagnose(Config(), facts)[-1].state in ("ok", "look", "missing")


def test_asJSONIsWhatWasFound():
    assert json.loads(asJSON([])) == []
