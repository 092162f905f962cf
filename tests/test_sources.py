"""Where connections to servers come from: what is accepted, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.config.sources import Source, Sources, oneClient

ACCEPTED = [
    ("192.0.2.1", Source("address", "192.0.2.1")),
    ("192.0.2.1:20000-29999", Source("address", "192.0.2.1", 20000, 29999)),
    ("192.0.2.1:5000", Source("address", "192.0.2.1", 5000, 5000)),
    ("192.0.2.1:1-65535", Source("address", "192.0.2.1", 1, 65535)),
    ("2001:DB8:0::1", Source("address", "2001:db8::1")),
    ("[2001:db8::1]", Source("address", "2001:db8::1")),
    ("[2001:db8::1]:7-9", Source("address", "2001:db8::1", 7, 9)),
    ("clientip", Source("clientip")),
    ("hdr_ip(X-Real-IP)", Source("field", field="X-Real-IP")),
]
REFUSED = [
    ("eth0", "'eth0' is not a source: ADDRESS, ADDRESS:FIRST-LAST, clientip and hdr_ip(FIELD)"),
    ("www.example.org:1-2", "is not a source"),
    ("::1:1-2", "is not a source"),
    ("[192.0.2.1]:1-2", "is not a source"),
    ("[::1", "is not a source"),
    ("clientip:1-2", "is not a source"),
    ("hdr_ip()", "'' is not the name of a header field"),
    ("hdr_ip(X Y)", "is not a source"),
    ("192.0.2.1:", "'192.0.2.1:' ends in no range of ports such as :20000-29999"),
    ("192.0.2.1:2-1", "ends in no range"),
    ("192.0.2.1:0-1", "ends in no range"),
    ("192.0.2.1:1-65536", "ends in no range"),
    ("192.0.2.1:1-2-3", "ends in no range"),
    ("[::1]:", "ends in no range"),
    ("[::1]x", "is not a source"),
]


@pytest.mark.parametrize(("text", "source"), ACCEPTED)
def test_accepted(text, source):
    assert Sources().parse(text) == (source,)


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(text, message):
    with pytest.raises(ValueError) as raised:
        Sources().parse(text)
    assert message in str(raised.value)


def test_severalAreKeptInTheirOrderAndOnce():
    found = Sources().parse("192.0.2.2, 192.0.2.1,192.0.2.2 ::1")
    assert [source.address for source in found] == ["192.0.2.2", "192.0.2.1", "::1"]
    assert Sources().parse("") == ()


def test_onlyAddressesAreTakenInTurn():
    for text in ("clientip", "hdr_ip(X)", "192.0.2.1,::1", "clientip,192.0.2.1,::1"):
        assert oneClient(Sources().parse(text)) is None
    for text in ("clientip,hdr_ip(X)", "hdr_ip(X),192.0.2.1,hdr_ip(Y)"):
        assert "one clientip or hdr_ip(FIELD) is enough" in oneClient(Sources().parse(text))


@given(st.ip_addresses(), st.lists(st.integers(1, 65535), min_size=2, max_size=2).map(sorted))
def test_addressesWithPortsRoundTrip(address, ports):
    written = f"[{address}]" if address.version == 6 else str(address)
    first, last = ports
    [found] = Sources().parse(f"{written}:{first}-{last}")
    assert found == Source("address", str(address), first, last)


@given(st.text(st.sampled_from("0123456789abf.:[]-,()clientphdr_ %\u0663"), max_size=40))
def test_anyTextIsSourcesOrAValueError(text):
    try:
        found = Sources().parse(text)
    except ValueError as error:
        assert str(error)
    else:
        assert all(isinstance(source, Source) for source in found)
