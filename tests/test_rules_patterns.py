"""
Slow regular expressions are refused, and harmless ones are not: each is tried for real, in
a process that has a part of a second of CPU time.
"""

import re
import signal
import subprocess
import sys

import pytest

from lbtwist.rules.patterns import slowness

FOR_EVER = "repeats what repeats, or matches in several ways, and could take for ever"
LONG = "could take long for a long text"

# With what they take minutes for, and more.
SLOW = {
    r"(a+)+$": "a" * 60 + "!",
    r"(a*)*$": "a" * 60 + "!",
    r"(a|ab|b)*$": "ab" * 60 + "!",
    r"(foo|foo)*$": "foo" * 60 + "!",
    r"(a?b?)*$": "ab" * 60 + "!",
    r"(?:(?:a?){3})*$": "a" * 60 + "!",
    r"(\d{1,3}\.?)+$": "1" * 90 + "!",
    r"^([0-9a-f]{1,4}:?)+$": "1" * 90 + "!",
    r"(\w+\s*)+$": "a" * 60 + "!",
    r"^(\w+\s?)*$": "a" * 60 + "!",
    r"(.*,)*x": "," * 60,
    r"(?:.*foo)*bar": "foo" * 40,
    r"^(([a-z])+.)+[A-Z]([a-z])+$": "a" * 90,
    r'^("[^"]*"|[^,]*)(,("[^"]*"|[^,]*))*;$': '"a",' * 40,
    r"(a|a)*$": "a" * 60 + "!",
    r"(a?){30}a{30}": "a" * 30,
    r"(a|aa){40}$": "a" * 50 + "!",
    "a?" * 30 + "a" * 30: "a" * 30,
    r"(?>(a+)+b)": "a" * 60,
    r"(?=(a+)+b)": "a" * 60,
    r"(?!(a+)+b)c": "a" * 60,
    r"(\s|\w\s?)+$": "a " * 60 + "!",
    r"(\bfoo|\Bfoo|foo)*$": "foo" * 90 + "!",
    r"(a)?(?:b(?(1)x|y)|by)*$": "by" * 60 + "!",
    r".*foo.*bar.*x": "foobar" * 1300,
    r"^a*a*a*a*b": "a" * 8000,
    r"^.*a.*b.*c.*d$": "abc" * 2600,
    r"\s*,?\s*,?\s*;": " " * 8000,
}
KINDS = {
    pattern: LONG if pattern.startswith((".*", "^a*", "^.*", r"\s*,")) else FOR_EVER
    for pattern in SLOW
}

HARMLESS = [
    r"", r"a", r"^/(\w+)", r"\.(php|asp)$", r"/api/v\d+/users/\d+$", r"^.*foo.*bar",
    r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", r"(\d{1,3}\.){3}\d{1,3}$", r"^(\w+\.)+com$",
    r"^(?:[^/]+/)*index", r"(a|b)*c", r"(\d|\w)+$", r"(?i)(K|k)+$", r"(a++)+b",
    r"(?:a++b?+)+$", r"^(?:(?!foo).)*$", r".*", r"\d+$", r"/.*\.php$", r"^([a-z]+=[^&]*&)*x",
    r"(?i)^bearer\s+[A-Za-z0-9._~+/-]+=*$", r"^(www\.)?example\.(com|org)$", r"(com|co\.uk)$",
    r"^/a/.*/b/[^/]*$", r"(foo|bar)+x", r"^[\w.+-]+@[\w-]+\.[\w.-]+$", r"\bgoogle\b",
    r"Mozilla/\d+\.\d+ \((?:[^()]|\([^()]*\))*\)", r"(a{2,3}b)+c", r"(\w)(\1)+x", r"(ab?)*c",
    r"^/(?:en|de|fr)/(?P<rest>.*)$", r"[a-z]{1,63}(\.[a-z]{1,63})+$", r"(a?)*b", r"a{0}b",
    r"(?:a{2}){3}", r"(?<=a)b+$", r"(?s)^.*x", r"(?m)^a+$", r"(?x) a + b # c", r"^(a)?(?(1)b|c)*$",
    r"[^\x00-\x7f]+$", r"\udc80+$", r"^(?:a|b|cd){1,20}$", r"Googlebot|bingbot|YandexBot",
]  # fmt: skip

TRY = """
import re, signal, sys
search = re.compile(sys.argv[2]).search
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[1]))
for text in sys.argv[3:]:
    search(text)
"""


def tried(pattern, texts, seconds):
    """@return: whether a pattern is through with texts in so many seconds."""
    if "\\udc80" in pattern:
        texts = [text + "\udc80" * 99 for text in texts]
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", TRY, str(seconds), pattern, *texts])
    assert ended.returncode in (0, -signal.SIGPROF)
    return ended.returncode == 0


@pytest.mark.parametrize("pattern", SLOW)
def test_slow(pattern):
    assert KINDS[pattern] in slowness(pattern)
    assert not tried(pattern, [SLOW[pattern]], 0.4)


@pytest.mark.parametrize("pattern", HARMLESS)
def test_harmless(pattern):
    assert slowness(pattern) == ""
    re.compile(pattern)
    units = [
        "a", "b", "ab", "1", "foo", "a.", "a/", "/", "1.", " ", "a b", "x=y&", "(", "()", "K",
        "aab",
    ]  # fmt: skip
    assert tried(pattern, [unit * (4000 // len(unit)) + "!" for unit in units], 60)


def test_whatIsNoRegularExpression():
    assert slowness("(") == "'(' is not a regular expression"


def test_whatIsTooLongToTell():
    assert FOR_EVER in slowness("|".join(f"({n})*" for n in range(1000)))
    assert slowness("|".join(str(n) for n in range(100, 400))) == ""
