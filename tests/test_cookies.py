"""Cookies in C{Cookie} fields, and the attributes of C{Set-Cookie}."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.sansio.cookies import SetCookie, add, change, cookies, find, strip


class TestCookie:
    """One cookie in a C{Cookie} field."""

    def test_find(self):
        lines = [b"a=1; SRVID=s1", b'SRVID=s2;b="2 3"; c= 4 ']
        assert find(lines, b"SRVID") == b"s1", "of several the first"
        assert find(lines, b"b") == b"2 3"
        assert find(lines, b"c") == b"4"
        assert find(lines, b"srvid") is None, "the case of a cookie's name counts"
        assert find([b"a; =b; ;"], b"a") is None, "what is no pair is passed over"
        assert find([], b"a") is None

    def test_add(self):
        assert add(b"", b"a", b"1") == b"a=1"
        assert add(b" ;", b"a", b"1") == b"a=1"
        assert add(b"b=2", b"a", b"1") == b"b=2; a=1"

    def test_change(self):
        assert change(b"b=2; a=1;c=3; a=4", b"a", lambda value: b"new") == b"b=2; a=new;c=3; a=new"
        assert change(b"ab=2;  b", b"b", lambda value: b"new") == b"ab=2;  b"

    @pytest.mark.parametrize(
        ("line", "kept"),
        [
            (b"a=1; b=2; c=3", b"a=1; c=3"),
            (b"b=2; c=3", b"c=3"),
            (b"a=1; b=2", b"a=1"),
            (b"b=2", b""),
            (b" b =2;b=", b""),
            (b"B=2; bb=3; b", b"B=2; bb=3; b"),
            (b"b=x=y;a=b=c", b"a=b=c"),
            (b"a=1;;  c=2 ;", b"a=1;;  c=2 ;"),
        ],
    )
    def test_strip(self, line, kept):
        assert strip(line, b"b") == kept

    @given(st.binary(max_size=80), st.sampled_from([b"a", b"b"]))
    def test_anything(self, line, name):
        """Whatever comes: what is stripped is not found, and all else still is."""
        before = cookies([line])
        kept = strip(line, name)
        assert find([kept], name) is None
        assert cookies([kept]) == {key: value for key, value in before.items() if key != name}
        assert find([line], name) == before.get(name)
        if name in before:
            assert find([change(line, name, lambda value: b"new")], name) == b"new"
        else:
            assert kept == line == change(line, name, lambda value: b"new")
            assert find([add(line, name, b"new")], name) == b"new"


class TestSetCookie:
    LINE = b"a=b=c;Path=/x; DOMAIN = .h ;secure ; Path = /y"

    def test_asItCame(self):
        cookie = SetCookie(self.LINE)
        assert cookie.value == self.LINE
        assert cookie.name == b"a"
        assert repr(cookie) == f"<SetCookie {self.LINE!r}>"

    def test_name(self):
        assert SetCookie(b" n = v").name == b"n"
        assert SetCookie(b"v").name == b"", "a value without a name"
        assert SetCookie(b"").name == b""

    def test_has(self):
        cookie = SetCookie(self.LINE)
        assert cookie.has(b"secure")
        assert cookie.has(b"domain")
        assert not cookie.has(b"a"), "the cookie itself is no attribute"
        assert not cookie.has(b"httponly")
        assert not SetCookie(b"a=secure").has(b"secure")

    def test_add(self):
        cookie = SetCookie(b"a=b")
        cookie.add(b"HttpOnly")
        assert cookie.value == b"a=b; HttpOnly"
        ended = SetCookie(b"a=b;Path=/; ")
        ended.add(b"Secure")
        assert ended.value == b"a=b;Path=/; Secure"

    def test_changeWhereItStands(self):
        seen = []
        cookie = SetCookie(self.LINE)
        cookie.change(b"path", lambda value: seen.append(value) or b"/z")
        assert seen == [b"/x", b"/y"]
        assert cookie.value == b"a=b=c;Path=/z; DOMAIN = .h ;secure ; Path =/z"

    def test_leave(self):
        cookie = SetCookie(self.LINE)
        cookie.change(b"path", lambda value: value)
        cookie.change(b"a", lambda value: b"never")
        assert cookie.value == self.LINE

    def test_takeOut(self):
        cookie = SetCookie(self.LINE)
        cookie.change(b"path", lambda value: None)
        assert cookie.value == b"a=b=c; DOMAIN = .h ;secure "

    def test_oneAttributeStaysOne(self):
        cookie = SetCookie(b"a=b; Path=/")
        cookie.change(b"path", lambda value: b"/x; Domain=evil")
        assert cookie.value == b"a=b; Path=/x%3B Domain=evil"
        assert not cookie.has(b"domain")
