"""The file format: sections, options, words, and the place of each."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbtwist.config import ini
from lbtwist.config.ini import readFile, readText


def read(text, **environ):
    """The document of a text that has no problems."""
    document = readText(text, "lb.ini", environ)
    assert document.problems == []
    return document


def problems(text, **environ):
    return [str(one) for one in readText(text, "lb.ini", environ).problems]


def words(value, **environ):
    """The words of one value."""
    [section] = read(f"[a]\nkey = {value}\n", **environ).sections
    return [word.text for word in section.options[0].words]


def test_sectionsOptionsAndTheirPlaces():
    [one, two] = read("[frontend www]\nmode = http\n\n[ Global ]\n  max_conn=1").sections
    assert (one.kind, one.name, str(one.where)) == ("frontend", "www", "lb.ini:1:1")
    assert (two.kind, two.name, str(two)) == ("global", "", "[global]")
    [mode], [maxconn] = one.options, two.options
    assert (mode.word, mode.name, str(mode.where)) == ("mode", "", "lb.ini:2:1")
    assert [str(word.where) for word in mode.words] == ["lb.ini:2:8"]
    assert (maxconn.word, str(maxconn.where)) == ("max-conn", "lb.ini:5:3")
    assert [str(word.where) for word in maxconn.words] == ["lb.ini:5:12"]


def test_keysAreLowerCaseWithDashesAndNamesAreAsWritten():
    [section] = read("[A b_C]\nTimeout_Client = 1\nServer  My_One = 2").sections
    assert (section.kind, section.name) == ("a", "b_C")
    assert [(o.word, o.name) for o in section.options] == [
        ("timeout-client", ""), ("server", "My_One"),
    ]  # fmt: skip


def test_valuesContinueOnDeeperLines():
    [section] = read(
        "[a]\nbind =\n   :80\n\n # between\n   [::]:81 ; last\nmode = tcp\n\tmore"
    ).sections
    bind, mode = section.options
    assert [(line.text, str(line.where)) for line in bind.lines] == [
        (":80", "lb.ini:3:4"), ("[::]:81", "lb.ini:6:4"),
    ]  # fmt: skip
    assert [word.text for word in mode.words] == ["tcp", "more"]


def test_optionsMayBeIndentedUnderTheirSection():
    [section] = read("[a]\n  one = 1\n  two = 2\n    3\n  [b]").sections[:1]
    assert [(o.word, len(o.lines)) for o in section.options] == [("one", 1), ("two", 2)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a b\tc", ["a", "b", "c"]),
        ("", []),
        ('"a b" \'c d\' e"f g"h', ["a b", "c d", "ef gh"]),
        ('"" x \'\'', ["", "x", ""]),
        ("a ; comment", ["a"]),
        ("a # comment 'with quote", ["a"]),
        ("; comment", []),
        ("a;b a#b", ["a;b", "a#b"]),
        ('"a ; b" \'c # d\'', ["a ; b", "c # d"]),
        (r"a\ b \; \# \"x\" \'", ["a b", ";", "#", '"x"', "'"]),
        (r"\d+ \\d a\\", [r"\d+", r"\d", "a\\"]),
        (r'"\d \" \\ \;" ' r"'\d \\ \" '", [r'\d " \ \;', r'\d \\ \" ']),
        ("a\\", ["a\\"]),
        ("key = value", ["key", "=", "value"]),
    ],
)
def test_wordsAndQuotes(value, expected):
    assert words(value) == expected


def test_quotedWhiteSpaceAtTheEndsIsKept():
    assert words("'  a  '   ") == ["  a  "]
    [section] = read("[a]\nk =  ' a '  ; c").sections
    assert section.options[0].lines[0].text == "' a '"


def test_pairs():
    [section] = read("[a]\nk = http Path=/x?y=z Rise_Time=2 'a=b' \"a\"=b /p?q=1 x= =y").sections
    found = [word.pair for word in section.options[0].words]
    assert [pair and (pair[0], pair[1].text, pair[1].where.column) for pair in found] == [
        None, ("path", "/x?y=z", 15), ("rise-time", "2", 32), None, None, None, ("x", "", 55), None,
    ]  # fmt: skip


def test_pairWithQuotedValue():
    [section] = read('[a]\nk = header="Name: value"').sections
    key, value = section.options[0].words[0].pair
    assert (key, value.text, value.where.column) == ("header", "Name: value", 13)


def test_cutAtSeparatorsThatAreNotQuoted():
    [section] = read("[a]\nk = a,b','c,,d").sections
    [word] = section.options[0].words
    assert [(part.text, part.where.column) for part in word.cut(",")] == [
        ("a", 5), ("b,c", 7), ("", 13), ("d", 14),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${ONE}", ["1"]),
        ("a${ONE}b", ["a1b"]),
        ("${TWO} '${TWO}' \"${TWO}\"", ["x", "y", "${TWO}", "x y"]),
        ("${EMPTY} \"${EMPTY}\"", [""]),
        ("${EMPTY:-d} ${NONE:-d e} ${ONE:-d}", ["d", "d", "e", "1"]),
        ("${NONE:-}", []),
        ("${SIGNS}", ["'", ";", "#", '"', "${ONE}", "\\"]),
        ("$${ONE} $$${ONE} $ONE $", ["${ONE}", "$${ONE}", "$ONE", "$"]),
    ],
)
def test_environment(value, expected):
    environ = {"ONE": "1", "TWO": "x y", "EMPTY": "", "SIGNS": "' ; # \" ${ONE} \\"}
    assert words(value, **environ) == expected


def test_placesAfterTheEnvironmentAreThoseOfTheFile():
    [section] = read("[a]\nk = ${LONG} x", LONG="a b").sections
    assert [word.where.column for word in section.options[0].words] == [5, 5, 13]


def test_missingEnvironmentIsAProblemAtItsPlace():
    assert problems("[a]\nk = x ${NONE}\n  ${9} ${") == [
        "lb.ini:2:7: error: the environment has no 'NONE'; ${NONE:-DEFAULT} does without it",
        "lb.ini:3:3: error: '${' needs a name and '}': ${NAME} or ${NAME:-DEFAULT}; "
        "$${ is a plain ${",
        "lb.ini:3:8: error: '${' needs a name and '}': ${NAME} or ${NAME:-DEFAULT}; "
        "$${ is a plain ${",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a", "1:1: error: '[a' is not a section: write [KIND] or [KIND NAME]"),
        ("[a] b", "1:1: error: '[a] b' is not a section: write [KIND] or [KIND NAME]"),
        ("[a]\nb", "2:1: error: 'b' is neither [SECTION] nor KEY = VALUE"),
        ("[a]\n = b", "2:2: error: there is no key before '='"),
        ("[a]\nb c d = e", "2:1: error: 'b c d' is not a key: write KEY or KEY NAME before '='"),
        ("[a]\nb = 'c", "2:5: error: the quote ' is not closed"),
        ("[a]\nb = c\0", "2:6: error: there is a NUL byte"),
        ("b = c", "1:1: error: 'b' stands before any [SECTION]; only 'include' may"),
    ],
)
def test_problemsNameTheirPlace(text, expected):
    assert problems(text) == [f"lb.ini:{expected}"]


def test_readingGoesOnAfterProblems():
    document = readText("[a\nlost = 1\n[b]\nwrong\n  more\nright = 2", "lb.ini", {})
    assert len(document.problems) == 2
    [section] = document.sections
    assert [option.word for option in section.options] == ["right"]


def test_colonInsteadOfEqualsGetsAHint():
    [problem] = problems("[a]\nmode: http")
    assert problem.endswith("; the sign is '=', not ':'")


def test_linesEndAsOnWindowsAndStartWithAMark():
    [section] = read("\ufeff[a]\r\nb = c\r\n  d ; e\r\n").sections
    assert [word.text for word in section.options[0].words] == ["c", "d"]


WORD = st.text("abcZ09=;#,:'\"[]\\é/", min_size=1, max_size=6).filter(lambda w: w[0] not in ";#")


@given(st.lists(st.tuples(st.sampled_from([" ", "  ", "\t", " \n ", "\n\n  "]), WORD), max_size=8))
def test_aQuotedWordComesBackFromItsPlace(pieces):
    text = "[a]\nk ="
    expected = []
    for space, word in pieces:
        text += space
        lines = text.split("\n")
        expected.append((word, len(lines), len(lines[-1]) + 1))
        escaped = word.replace("\\", "\\\\").replace('"', '\\"')
        text += f'"{escaped}"'
    [section] = read(text).sections
    found = section.options[0].words
    assert [(word.text, word.where.line, word.where.column) for word in found] == expected


@given(st.lists(st.text("abcZ09=,:[]é/", min_size=1, max_size=6), max_size=8))
def test_everyCharacterOfAPlainWordKnowsItsColumn(plain):
    text = "k =" + "".join(f"  {word}" for word in plain)
    [section] = read(f"[a]\n{text}").sections
    found = section.options[0].words
    assert [word.text for word in found] == plain
    for word in found:
        assert [text[column - 1] for column in word.columns] == list(word.text)


def write(folder, **texts):
    for name, text in texts.items():
        path = folder / name.replace("__", os.sep)
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".ini").write_text(text)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(document):
    assert document.problems == []
    return [section.name for section in document.sections]


def test_includedSectionsComeFirstInSortedOrder(here):
    write(here, lb="include = conf/*.ini\n[s last]", conf__b="[s b]", conf__a="[s a]")
    document = readFile("lb.ini", {})
    assert names(document) == ["a", "b", "last"]
    assert document.files == ["lb.ini", "conf/a.ini", "conf/b.ini"]
    assert str(document.sections[0].where) == "conf/a.ini:1:1"


def test_includesAreRelativeToTheIncludingFile(here):
    write(here, lb="include = conf/a.ini", conf__a="include = b.ini", conf__b="[s b]")
    assert names(readFile("lb.ini", {})) == ["b"]
    assert names(readFile(str(here / "lb.ini"), {})) == ["b"]
    assert names(readText("include = ${DIR}/a.ini", "lb.ini", {"DIR": "conf"})) == ["b"]


def test_patternPassesOverTheFileItselfAndWhatWasRead(here):
    write(here, lb="include = a.ini *.ini\n[s lb]", a="[s a]", b="[s b]")
    assert names(readFile("lb.ini", {})) == ["a", "b", "lb"]
    assert names(readText("include = *.ini", "lb.ini", {})) == ["a", "b"]


def test_patternThatFindsNothingIsNoProblemButAMissingFileIs(here):
    write(here, lb="include = none/*.ini none.ini")
    assert [str(one) for one in readFile("lb.ini", {}).problems] == [
        "lb.ini:1:22: error: 'none.ini' cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize("pattern", ["a.ini", "a*.ini", "./a.ini"])
def test_circleIsAProblem(here, pattern):
    write(here, lb="include = a.ini\n[s lb]", a="include = b.ini\n[s a]", b=f"include = {pattern}")
    document = readFile("lb.ini", {})
    [problem] = document.problems
    assert str(problem).startswith("b.ini:1:11: error: include: ")
    assert problem.message.endswith("is including this file: a circle")
    assert [section.name for section in document.sections] == ["a", "lb"]


def test_fileThatIncludesItselfIsACircle(here):
    write(here, lb="include = lb.ini")
    [problem] = readFile("lb.ini", {}).problems
    assert "a circle" in problem.message


def test_bytesThatAreNotUTF8AreProblemsOnTheirLines(here):
    (here / "lb.ini").write_bytes("[s é]\nk = é".encode() + b"\xff x\n# \xc3\n[s b]")
    document = readFile("lb.ini", {})
    assert [str(one) for one in document.problems] == [
        "lb.ini:2:6: error: byte 0xff is not UTF-8",
        "lb.ini:3:3: error: byte 0xc3 is not UTF-8",
    ]
    assert [section.name for section in document.sections] == ["é", "b"]


@pytest.mark.parametrize("path", ["none.ini", ".", "a\0b", "none/none.ini"])
def test_unreadableFileIsAProblem(here, path):
    [problem] = readFile(path, {}).problems
    assert problem.where.file == path
    assert "cannot be read" in problem.message


def test_veryLongFileIsNotReadWhole(here, monkeypatch):
    write(here, lb="[s name]")
    monkeypatch.setattr(ini, "LIMIT", 8)
    assert names(readFile("lb.ini", {})) == ["name"]
    monkeypatch.setattr(ini, "LIMIT", 7)
    [problem] = readFile("lb.ini", {}).problems
    assert "longer than 7 bytes" in problem.message
