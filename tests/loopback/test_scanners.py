"""
What the programs say that look for weak TLS: nothing above low, but what comes from a
certificate authority of our own, or from the program itself.
"""

import json
import os
import re
import signal
import subprocess

import pytest
from authority import DAY, NOW, Authority, pem
from loopback.running import Balancer, freePorts, run

import programs

POLICIES = ("modern", "intermediate")

ALLOWED = {
    "cert_revocation": "our authority publishes neither a revocation list nor an OCSP service",
    "engine_problem": "it is said of Debian's openssl, which has no GOST; nor is any offered",
    "sessionresumption_ticket": "its client often hangs up before a ticket of TLSv1.3 has come",
}
"""Findings of testssl that are not about the balancer, and why."""

ALLOWED_BY_SSLYZE = {
    "certificate_path_validation": "it asks for extensions that our authority leaves out",
}

CHECKS = ("-p", "-s", "-f", "-P", "-S", "-U")
"""
Versions, kinds of ciphers, forward secrecy, what we prefer, server defaults with the
certificate, all vulnerabilities. Not header fields, which are the server's, and neither
the simulated clients nor each cipher by itself, which take long and find nothing else.
"""

LOOKED_AT = {
    "SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "PFS",
    "cipher_order", "cert_chain_of_trust", "cert_revocation", "heartbleed", "CCS",
    "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS",
    "POODLE_SSL", "fallback_SCSV", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13",
    "RC4", "scanTime",
}  # fmt: skip
"""What has to be in a report that is whole."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A balancer with a frontend of each policy; its C{ports} have their names."""
    directory = tmp_path_factory.mktemp("scanners")
    ca = Authority()
    for kind in ("ecdsa", "rsa"):
        issued = ca.issue("site.test", kind=kind, end=NOW + 80 * DAY)
        issued.write(directory / f"{kind}.pem")
    (directory / "ca.pem").write_bytes(pem(ca.certificate))
    ports = dict(zip(POLICIES, freePorts(len(POLICIES)), strict=True))
    text = f"""\
        [global]
        log = file:access.log

        [defaults]
        pool = app

        [frontend modern]
        bind = 127.0.0.1:{ports["modern"]} tls=modern

        [frontend intermediate]
        bind = 127.0.0.1:{ports["intermediate"]} tls=intermediate

        [tls modern]
        policy = modern
        certificate = ecdsa.pem

        [tls intermediate]
        policy = intermediate
        certificate = ecdsa.pem, rsa.pem

        [pool app]
        server a = demo:a
        """
    with Balancer(directory, text) as balancer:
        balancer.ports = ports
        yield balancer


@pytest.fixture(scope="module")
def reports(site):
    """What testssl found of each policy; both run at once."""
    running = {}
    for policy, port in site.ports.items():
        path = site.directory / f"{policy}.json"
        command = [
            programs.find("testssl"), "--quiet", "--color", "0", "--warnings", "off",
            "--nodns", "none", "--ip", "127.0.0.1", "--add-ca", site.directory / "ca.pem",
            "--jsonfile", path, *CHECKS, f"https://site.test:{port}",
        ]  # fmt: skip
        with (site.directory / f"{policy}.testssl").open("w") as printed:
            running[path] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                cwd=site.directory, start_new_session=True,
            )  # fmt: skip
    try:
        for process in running.values():
            process.wait(240)
    finally:
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return {path.stem: json.loads(path.read_text()) for path in running}


@pytest.mark.needs("testssl")
@pytest.mark.parametrize("policy", POLICIES)
def test_testssl(reports, policy):
    # Of several certificates each has its findings: "cert_revocation <cert#2>".
    found = [
        (one["id"].partition(" ")[0], one["severity"], one["finding"])
        for one in reports[policy]
    ]
    assert {name for name, _, _ in found} >= LOOKED_AT
    worse = [one for one in found if one[1] not in ("OK", "INFO", "LOW")]
    assert [one for one in worse if one[0] not in ALLOWED] == []


def sslyze(site, policy, mozilla):
    """@return: what is not as Mozilla's configuration of this name wants it."""
    address = f"127.0.0.1:{site.ports[policy]}"
    done = run("sslyze", "--mozilla_config", mozilla, address, seconds=60)
    _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST")
    assert f"{address}: " in verdict, done.stdout + done.stderr
    return dict(re.findall(r"^ +\* (\w+): (.*)$", verdict, re.M))


@pytest.mark.needs("sslyze")
@pytest.mark.parametrize("policy", POLICIES)
def test_sslyze(site, policy):
    found = sslyze(site, policy, policy)
    assert {name: found[name] for name in found if name not in ALLOWED_BY_SSLYZE} == {}


@pytest.mark.needs("sslyze")
def test_sslyzeSeesWhatIsNotSo(site):
    assert sslyze(site, "intermediate", "modern").keys() >= {"tls_versions", "ciphers"}
