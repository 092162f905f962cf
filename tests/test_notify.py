"""The value of C{notify}: who is told, what of, and what is wrong with it."""

import pytest

from lbtwist.config.load import loadText
from lbtwist.config.model import Notify, NotifyOptions, Part
from lbtwist.errors import ConfigError
from lbtwist.notices.mail import Mail
from lbtwist.notices.webhook import Webhook
from lbtwist.registry import installed

HOOK = Notify(Part("webhook", Webhook.Options("https://h.test/x?a=b")))
MAIL = Notify(Part("mail", Mail.Options(("a@b.test", "c@d.test"), "lb@b.test")))


def notifying(settings="", defaults="", pool=""):
    """@return: who is told of the pool, where these lines are in its sections."""
    text = (
        "[frontend www]\nbind = :80\npool = app\n"
        f"[pool app]\nserver a = 127.0.0.1:8001\n{pool}\n"
        f"[defaults]\n{defaults}\n[global]\n{settings}\n"
    )
    config, problems = loadText(text, installed())
    assert problems == []
    return config.pools["app"].notify


def test_nobodyUnlessItIsSaid():
    assert notifying() == ()


def test_lines():
    lines = "notify =\n  webhook https://h.test/x?a=b\n  mail to=a@b.test,c@d.test from=lb@b.test"
    assert notifying(pool=lines) == (HOOK, MAIL)


def test_inOneLine():
    line = "notify = webhook https://h.test/x?a=b, mail to=a@b.test,c@d.test from=lb@b.test"
    assert notifying(pool=line) == (HOOK, MAIL)


def test_theNearestCounts():
    hook, mail = "notify = webhook https://h.test/x?a=b", "notify = mail to=x@y from=z@y"
    assert notifying(settings=hook) == (HOOK,)
    assert notifying(settings=mail, defaults=hook) == (HOOK,)
    assert notifying(settings=mail, defaults=mail, pool=hook) == (HOOK,)
    assert notifying(settings=mail, defaults=mail, pool="notify = off") == ()
    assert notifying(settings=mail, defaults="notify = off") == ()


def test_events():
    [found] = notifying(pool="notify = log events=down,up")
    assert found.options == NotifyOptions(("down", "up"))


def test_mailOptions():
    line = "notify = mail to=a@b from=c@d server=[::1]:2525 wait=1s every=0"
    [found] = notifying(pool=line)
    assert found.observer.options == Mail.Options(("a@b",), "c@d", ("::1", 2525), 1.0, 0.0)


def test_secretBesideTheFile(tmp_path):
    text = (
        "[frontend www]\nbind = :80\npool = app\n[pool app]\nserver a = h:1\n"
        "notify = webhook https://h.test/ secret-file=key timeout=2s\n"
    )
    config, _ = loadText(text, installed(), str(tmp_path / "lb.ini"))
    [found] = config.pools["app"].notify
    options = Webhook.Options("https://h.test/", str(tmp_path / "key"), 2.0)
    assert found.observer.options == options


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("notify =", "6:1: error: [pool app] notify: needs a word: log, mail, webhook or off"),
        ("notify = webhok x", "6:10: error: [pool app] notify: unknown 'webhok', did you mean"),
        ("notify = off log", "6:10: error: [pool app] notify: off stands alone"),
        ("notify = log, off", "6:15: error: [pool app] notify: off stands alone"),
        ("notify = webhook", "6:10: error: [pool app] notify: needs URL"),
        ("notify = webhook ftp://h/", "6:18: error: [pool app] notify: url: 'ftp://h/' is not a"),
        ("notify = webhook http://u:p@h/", "6:18: error: [pool app] notify: url: a name and a pa"),
        ("notify = webhook http://h/#x", "6:18: error: [pool app] notify: url: what follows # in"),
        ('notify = webhook "http://h/ x"', "6:18: error: [pool app] notify: url: 'http://h/ x' is"),
        ("notify = webhook http://h/ timeout=0", "6:36: error: [pool app] notify: timeout: from"),
        ("notify = log events=dwn", "6:21: error: [pool app] notify: events: unknown 'dwn', did"),
        ("notify = log loud", "6:14: error: [pool app] notify: unknown word 'loud'"),
        ("notify = mail from=a@b", "6:10: error: [pool app] notify: needs to=ADDRESS,..."),
        ("notify = mail to=a@b", "6:10: error: [pool app] notify: needs from=ADDRESS"),
        ("notify = mail to=a from=c@d", "6:18: error: [pool app] notify: to: 'a' is not an addr"),
        ("notify = mail to=a@b, from=c@d", "6:10: error: [pool app] notify: needs from=ADDRESS"),
        ('notify = mail to="a@b c"@d from=c@d', "6:19: error: [pool app] notify: to: 'a@b c@d' is"),
        ("notify = mail to=a@b from=c@d,e@f", "6:27: error: [pool app] notify: from: needs one"),
        ("notify = mail to=a@b from=c@d server=h", "6:38: error: [pool app] notify: server: 'h' h"),
    ],
)
def test_errors(line, error):
    text = "[frontend www]\nbind = :80\npool = app\n[pool app]\nserver a = h:1\n" + line + "\n"
    with pytest.raises(ConfigError) as raised:
        loadText(text, installed())
    assert str(raised.value.problems[0]).startswith(f"lb.ini:{error}")


@pytest.mark.parametrize(
    "address",
    ["a", "@b", "a@", "a@b@c", "a b@c",
     "a\r\nBcc:x@c", "a@b\r\nc", "<a@b>", "a..b@c", "é@b", "a@-b",
     '"a"@b', "x" * 65 + "@b", ""],
)  # fmt: skip
def test_addressesThatAreNone(address):
    """None of these gets into the head of a mail, or into a command of SMTP."""
    field = Mail.Options.__attrs_attrs__[0]
    with pytest.raises(ValueError, match="is not an address of mail"):
        field.metadata["kind"].parse(address)
