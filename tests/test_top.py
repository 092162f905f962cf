"""The live view: rates of what a balancer says, keys, and lines for any terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.top.drawing import BAD, CHOSEN, DOUBTFUL, HEAD, draw, drawPlain
from lbtwist.top.keys import Keys
from lbtwist.top.sample import Rates, sampleOf
from lbtwist.top.view import HELP, LONGEST_FILTER, ORDERS, QUIT, Command, View


def said(kind, name, **more):
    """@return: a row as C{show top} has it."""
    return {
        "kind": kind, "name": name, "state": "UP", "active": 0, "limit": 0, "queued": 0,
        "exchanges": 0, "failed": 0, "5xx": 0, "in": 0, "out": 0, "took": 0.0, "weight": "",
        "check": "", **more,
    }  # fmt: skip


def value(*rows, at=10.0, **more):
    return {
        "version": "0.1.0", "pid": 7, "at": at, "now": 1.7e9, "uptime": 61.0, "level": "admin",
        "active": 3, "maxconn": 100, "accepted": 5, "stopping": False, "rows": list(rows), **more,
    }  # fmt: skip


def seen(*rows, **more):
    """@return: a view of a balancer that has said this twice, with growth by C{rates}."""
    view = View()
    before = [{**row, **dict.fromkeys(("exchanges", "failed", "5xx", "in", "out", "took"), 0)}
              for row in rows]  # fmt: skip
    view.seen(sampleOf(value(*rows, at=12.0, **more), value(*before)))
    return view


ROWS = (
    said("frontend", "www", state="OPEN", active=3, limit=100, exchanges=300, took=3.0,
         **{"in": 2000, "out": 200000}),
    said("pool", "app", active=3, exchanges=300, took=3.0, check="1/2"),
    said("server", "app/a", active=2, limit=10, exchanges=100, failed=4, took=2.5, weight=1,
         check="UP"),
    said("server", "app/b", state="DOWN", active=0, exchanges=0, weight=1, check="DOWN"),
    said("server", "app/c", state="DRAIN", active=1, queued=2, exchanges=200, took=0.5, weight=0,
         check="DRAIN"),
)  # fmt: skip


# rates


def test_ratesAreOfTheTimeBetween():
    rows = seen(*ROWS).sample.rows
    assert rows[0].rates == Rates(150, 0, 0, 1000, 100000, 0.01)
    assert rows[2].rates == Rates(50, 2, 0, 0, 0, 0.025)
    assert rows[3].rates.latency is None


def test_thereAreNoneAtFirst():
    sample = sampleOf(value(*ROWS))
    assert {row.rates for row in sample.rows} == {None}
    assert sample.accepted is None


def test_anotherProcessBeginsAnew():
    sample = sampleOf(value(*ROWS, at=12.0, pid=8), value(*ROWS))
    assert {row.rates for row in sample.rows} == {None}


def test_whatIsCountedAnewIsNothing():
    rows = sampleOf(value(said("pool", "app"), at=11.0), value(said("pool", "app", failed=9))).rows
    assert rows[0].rates == Rates()


def test_aRowThatIsNewHasNone():
    rows = sampleOf(value(*ROWS, at=11.0), value(ROWS[0])).rows
    assert [row.rates is None for row in rows] == [False, True, True, True, True]


@pytest.mark.parametrize(
    "wrong",
    [
        None, {}, {"rows": 1}, value({"kind": "x"}), value(1), value(now=1e30), value(now="x"),
        value(uptime=float("nan")), value(said("pool", "p", active=float("inf"))),
        value(said("pool", 1)), value(said("x", "x")),
    ],
)  # fmt: skip
def test_whatIsNoAnswer(wrong):
    with pytest.raises((KeyError, TypeError, ValueError)):
        sampleOf(wrong)


# what is seen, and keys


def names(view):
    return [row.name for row in view.rows]


@pytest.mark.parametrize(
    ("order", "servers"),
    [
        ("rate", ["app/c", "app/a", "app/b"]),
        ("sessions", ["app/a", "app/c", "app/b"]),
        ("errors", ["app/a", "app/b", "app/c"]),
        ("latency", ["app/a", "app/c", "app/b"]),
        ("name", ["app/a", "app/b", "app/c"]),
    ],
)
def test_orders(order, servers):
    view = seen(*ROWS)
    while view.order != order:
        view.pressed("s")
    assert names(view) == ["www", "app", *servers]


def test_theOrderGoesRound():
    view = seen(*ROWS)
    for name in [*ORDERS][1:]:
        view.pressed("s")
        assert view.order == name
    view.pressed("s")
    view.pressed("S")
    assert view.order == [*ORDERS][-1]


def test_onlySomeNames():
    view = seen(*ROWS)
    for key in "/APP/q":
        view.pressed(key)
    assert names(view) == []
    view.pressed("backspace")
    assert names(view) == ["app/c", "app/a", "app/b"]
    view.pressed("enter")
    assert view.pressed("q") == QUIT
    view.pressed("escape")
    assert len(names(view)) == 5


def test_aFilterHasAnEnd():
    view = seen(*ROWS)
    view.pressed("/")
    for _ in range(100):
        view.pressed("x")
    assert len(view.filter) == LONGEST_FILTER
    view.pressed("up")
    view.pressed("escape")
    assert (view.filter, view.typing) == ("", False)


def test_theArrowsChooseAndStayWithTheRow():
    view = seen(*ROWS)
    for key in ("down", "down", "down"):
        view.pressed(key)
    assert view.chosen == ("server", "app/c")
    view.pressed("s")
    assert view.at(view.rows) == 3
    view.pressed("end")
    assert view.chosen == ("server", "app/b")
    view.pressed("down")
    assert view.chosen == ("server", "app/b")
    view.pressed("home")
    view.pressed("up")
    assert view.chosen == ("frontend", "www")
    view.pressed("escape")
    assert view.chosen is None
    view.pressed("up")
    assert view.chosen == ("server", "app/b")
    for key, name in (("down", "www"), ("home", "www"), ("end", "app/b")):
        view.pressed("escape")
        view.pressed(key)
        assert view.chosen[1] == name


def test_arrowsWithNothingToChoose():
    view = View()
    for key in ("up", "down", "end", "pageup", "d"):
        assert view.pressed(key) is None
    assert view.message


def choosing(name, **more):
    view = seen(*ROWS, **more)
    view.chosen = ("server", name)
    return view


def test_drainingIsConfirmed():
    view = choosing("app/a")
    assert view.pressed("d") is None
    assert view.asking[0] == "Drain app/a: nobody new, 2 run there? (y/n)"
    assert view.pressed("y") == Command("set server app/a state drain", "app/a drains.")


@pytest.mark.parametrize("key", ["n", "q", "d", "enter", "escape"])
def test_anyOtherKeyDoesNotDrain(key):
    view = choosing("app/a")
    view.pressed("d")
    assert view.pressed(key) is None
    assert (view.asking, view.message) == (None, "Not done.")
    assert view.pressed("y") is None


def test_aServerThatIsDrainedIsMadeReadyAgain():
    view = choosing("app/c")
    view.pressed("d")
    assert view.pressed("y") == Command("set server app/c state ready", "app/c is ready.")


def test_onlyWhoMayDrains():
    view = choosing("app/a", level="operator")
    view.pressed("d")
    assert view.asking is None
    assert "takes admin" in view.message
    assert view.pressed("y") is None


def test_onlyServersAreDrained():
    view = seen(*ROWS)
    view.chosen = ("pool", "app")
    view.pressed("d")
    assert view.asking is None


def test_pause():
    view = seen(*ROWS)
    view.pressed("p")
    view.seen(sampleOf(value(said("pool", "other"))))
    assert len(names(view)) == 5
    view.pressed("p")
    view.seen(sampleOf(value(said("pool", "other"))))
    assert names(view) == ["other"]


def test_helpAndBack():
    view = seen(*ROWS)
    view.pressed("h")
    texts = [line.text for line in draw(view, 200, 30)]
    assert set(HELP) <= set(texts)
    view.pressed("d")
    assert (view.helping, view.asking) == (False, None)


# lines


def test_howItLooks():
    view = seen(*ROWS)
    view.chosen = ("server", "app/a")
    lines = draw(view, 110, 13)
    clock = lines[0].text.split("  ")[3]
    assert [line.text for line in lines] == [
        f"lbtwist 0.1.0  pid 7  up 61s  {clock}",
        "connections 3/100  accepted 0/s  requests 150/s  in 1.0k/s  out 100k/s  sorted by rate",
        "FRONTEND      STATE  NOW  LIMIT  QUEUED  REQ/S  FAIL/S  5XX/S   MS  IN/S  OUT/S  WEIGHT"
        "  CHECK",
        "www           OPEN     3    100       0    150       0      0   10  1.0k   100k       -"
        "  -",
        "",
        "POOL          STATE  NOW  LIMIT  QUEUED  REQ/S  FAIL/S  5XX/S   MS  IN/S  OUT/S  WEIGHT"
        "  CHECK",
        "app           UP       3      -       0    150       0      0   10     0      0       -"
        "  1/2",
        "",
        "SERVER        STATE  NOW  LIMIT  QUEUED  REQ/S  FAIL/S  5XX/S   MS  IN/S  OUT/S  WEIGHT"
        "  CHECK",
        "app/c         DRAIN    1      -       2    100       0      0  2.5     0      0       0"
        "  DRAIN",
        "app/a         UP       2     10       0     50     2.0      0   25     0      0       1"
        "  UP",
        "app/b         DOWN     0      -       0      0       0      0    -     0      0       1"
        "  DOWN",
        "q leave  s sort  / filter  arrows choose  d drain  p pause  h help",
    ]
    assert [line.style for line in lines][8:12] == [HEAD, DOUBTFUL, CHOSEN, BAD]


def test_aNarrowTerminalHasTheMostImportant():
    texts = [line.text for line in draw(seen(*ROWS), 40, 20)]
    assert texts[2] == "FRONTEND      STATE  NOW  REQ/S  FAIL/S"


def test_theChosenRowIsAlwaysSeen():
    rows = [said("server", f"app/s{number:03}") for number in range(300)]
    view = seen(*rows)
    view.pressed("down")
    for key in ("end", "pageup", "pageup", "up", "home", "pagedown", "down"):
        view.pressed(key)
        lines = draw(view, 80, 24)
        assert len(lines) == 24
        [line] = [line for line in lines if line.style == CHOSEN]
        assert line.text.split()[0] == view.chosen[1]
    view.pressed("home")
    assert draw(view, 80, 24)[2].style == HEAD


def test_whatItSays():
    view = seen(*ROWS)
    view.lost = "nobody\x1b[2J there"
    assert draw(view, 99, 24)[-1].text == "No balancer: nobody?[2J there. Trying again."
    view.pressed("p")
    view.lost = ""
    assert draw(view, 99, 24)[-1].text == "Paused; p goes on."
    view.pressed("/")
    view.pressed("x")
    lines = [line.text for line in draw(view, 99, 24)]
    assert lines[-1] == "Only names with: x_"
    assert "Nothing has such a name." in lines


def test_whatIsDrawnBeforeAnythingIsKnown():
    assert [line.text for line in draw(View(), 99, 5)][:3] == [
        "lbtwist top", "", "Waiting for the balancer."
    ]  # fmt: skip


@given(
    st.integers(-1, 200), st.integers(-1, 60), st.booleans(), st.sampled_from([*ORDERS]),
    st.sampled_from(ROWS), st.integers(0, 30),
)  # fmt: skip
def test_anySizeWillDo(width, height, helping, order, row, top):
    view = seen(*ROWS)
    view.helping, view.order, view.top = helping, order, top
    view.chosen = (row["kind"], row["name"])
    lines = draw(view, width, height)
    assert len(lines) == (max(height, 0) if width > 0 else 0)
    assert all(len(line.text) <= width and line.text.isprintable() for line in lines)


def test_namesCannotMoveTheCursor():
    view = seen(said("server", "app/\x1b[2J\u202e"))
    assert all(line.text.isprintable() for line in draw(view, 80, 10))


def test_plainLines():
    lines = drawPlain(seen(*ROWS), 110)
    assert len(lines) == 2 + 1 + 2 + 3 + 5 - 0
    assert lines[3].startswith("FRONTEND")


# keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"qs/", ["q", "s", "/"]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "pageup", "pagedown"]),
        (b"\x1b[1;5A\x1b[99~q", ["q"]),
        ("ä€😀".encode(), ["ä", "€", "😀"]),
        (b"\r\x7f\x01\xff", ["enter", "backspace"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
    ],
)
def test_keysInAnyPieces(data, keys):
    assert Keys().feed(data) == keys
    for at in range(1, len(data)):
        reader = Keys()
        assert reader.feed(data[:at]) + reader.feed(data[at:]) == keys


def test_escapeAlone():
    reader = Keys()
    assert reader.feed(b"\x1b") == []
    assert reader.waiting
    assert reader.flush() == ["escape"]
    assert not reader.waiting
    assert reader.flush() == []


@given(st.binary(max_size=100))
def test_anyBytesAreKeysOrNothing(data):
    reader = Keys()
    keys = reader.feed(data)
    assert all(key for key in keys)
    assert len(reader._held) < 40
