"""Where lines of logs go, which ones, and what stands before them there."""

from __future__ import annotations

import re
from collections.abc import Callable

import attr

from lbtwist.config.model.fields import place
from lbtwist.errors import Position
from lbtwist.logformat import WORDS
from lbtwist.options import (
    Flag,
    HostName,
    Integer,
    Kind,
    Path,
    Percent,
    Size,
    Statuses,
    Text,
    Word,
    option,
)
from lbtwist.sansio.syslogline import FACILITIES, FORMS, SEVERITIES, wrongIn

STREAMS = ("tcp", "tls")
SYSLOG = ("udp", *STREAMS, "unix")
"""Targets that are syslog servers."""

MOST_SAMPLED = 1_000_000
"""The longest row of exchanges that some are taken of."""


@attr.frozen
class Outcomes:
    """
    Exchanges by how they have ended; each word adds to the others.

    @ivar text: as it was written.
    @ivar errors: those that failed, as L{lbtwist.sampling.hasFailed} says.
    @ivar normal: the others.
    @ivar statuses: those whose client got one of these.
    """

    text: str
    errors: bool = attr.field(default=False, eq=False, repr=False)
    normal: bool = attr.field(default=False, eq=False, repr=False)
    statuses: tuple[tuple[int, int], ...] = attr.field(default=(), eq=False, repr=False)

    @property
    def all(self) -> bool:
        return self.errors and self.normal


class OutcomeWords(Kind[Outcomes]):
    """C{all}, or C{errors}, C{normal} and statuses, separated by commas."""

    form = "OUTCOMES"

    def parse(self, text: str) -> Outcomes:
        if text == "all":
            return ALL
        words = text.split(",")
        statuses = ",".join(word for word in words if word[:1].isdigit())
        unknown = [w for w in words if not w[:1].isdigit() and w not in ("errors", "normal")]
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is neither all, errors, normal nor a status such as 400-599"
            )
        found = Statuses().parse(statuses) if statuses else ()
        return Outcomes(text, "errors" in words, "normal" in words, found)


ALL = Outcomes("all", True, True)


@attr.frozen
class Sample:
    """
    A part of all exchanges.

    @ivar text: as it was written.
    @ivar size: of so many in a row those are taken whose numbers are in C{taken}; 0: each
        is taken with a chance of C{percent}.
    """

    text: str
    size: int = attr.field(default=0, eq=False, repr=False)
    taken: frozenset[int] = attr.field(default=frozenset(), eq=False, repr=False)
    percent: int = attr.field(default=100, eq=False, repr=False)

    @property
    def all(self) -> bool:
        return self.percent == 100 and not self.size


class SampleWords(Kind[Sample]):
    """C{all}, C{10%}, or as in HAProxy: C{1:100}, or C{1,3-4:8}."""

    form = "SAMPLE"
    _row = re.compile(r"([0-9]{1,7}(?:-[0-9]{1,7})?(?:,[0-9]{1,7}(?:-[0-9]{1,7})?)*):([0-9]{1,7})")

    def parse(self, text: str) -> Sample:
        if text == "all":
            return EVERY
        if text.endswith("%"):
            percent = Percent().parse(text)
            if not percent:
                raise ValueError("0% takes nothing: write log = off")
            return Sample(text, percent=percent)
        row = self._row.fullmatch(text)
        if row is None:
            raise ValueError(f"{text!r} is no sample: write 1:100, 1,3-4:8 or 10%")
        size = Integer(1, MOST_SAMPLED).parse(row[2])
        taken: set[int] = set()
        for word in row[1].split(","):
            first, _, last = word.partition("-")
            begin, end = int(first), int(last or first)
            if not 1 <= begin <= end <= size:
                raise ValueError(f"{word!r} is not within 1 to {size}")
            taken.update(range(begin, end + 1))
        return Sample(text, size if len(taken) < size else 0, frozenset(taken))


EVERY = Sample("all")


def _fits(name: str) -> Callable[[str], str | None]:
    """@return: a further look at what stands in the head of a message."""
    return lambda text: wrongIn(name, text)


def _longest(size: int) -> str | None:
    # RFC 5424 section 6.1; what one datagram of IPv4 can hold.
    if not 480 <= size <= 65507:
        return f"{size} is out of bounds: from 480 to 65507 is accepted"
    return None


def _enough(size: int) -> str | None:
    if not 64 * 1024 <= size <= 1024**3:
        return "from 64k to 1g is accepted"
    return None


@attr.frozen
class SyslogOptions:
    """What may follow a target of any log; what is for syslog servers says nothing of others."""

    facility: str = option(
        Word(*FACILITIES), "local0", "What the lines are of, for a syslog server.",
        positional=True,
    )
    level: str = option(
        Word(*SEVERITIES), "debug", "Less severe lines are left out.", positional=True
    )
    buffer: int = option(
        Size(), 16 * 1024 * 1024, "Kept at the most while the target takes nothing.",
        check=_enough,
    )
    syslog: str = option(
        Word("auto", *FORMS), "auto", "What stands before a line, for a syslog server."
    )
    framing: str = option(
        Word("auto", "octets", "newline"), "auto", "How lines are told apart in a stream."
    )
    len_: int = option(
        Size(), 8192, "Bytes of a line with what stands before it; the rest is cut off.",
        check=_longest,
    )
    hostname: str = option(Text(), "", "Who sends, for a syslog server.", check=_fits("hostname"))
    app_name: str = option(
        Text(), "lbtwist", "What program it is, for a syslog server.", check=_fits("app-name")
    )
    procid: str = option(
        Text(), "", "Which process of the program it is, for a syslog server.",
        check=_fits("procid"),
    )
    msgid: str = option(
        Text(), "", "What kind of line it is, for a syslog server.", check=_fits("msgid")
    )
    ca: str = option(Path(), "", "Certificates of those who may issue to the syslog server.")
    sni: str = option(HostName(), "", "The name that its certificate must have.")
    verify: str = option(Word("required", "none"), "required", "Whether it must be good.")
    certificate: str = option(Path(), "", "A certificate to show it, with its chain.")
    key: str = option(Path(), "", "The key of the certificate, if it is in a file of its own.")


@attr.frozen
class LogOptions(SyslogOptions):
    """What may follow a target in C{log =}."""

    format: str = option(
        Word(*WORDS), "auto", "What a line looks like; auto is log-format, or the mode's."
    )
    only: Outcomes = option(OutcomeWords(), ALL, "Only exchanges that ended so.")
    dontlognull: bool = option(
        Flag(), False, "Leave connections out that have brought nothing."
    )
    sample: Sample = option(SampleWords(), EVERY, "A part of the exchanges is enough.")
    sample_errors: bool = option(
        Flag(), False, "Of those that failed a part is enough, too."
    )
    severity: str = option(
        Word("auto", *SEVERITIES), "auto", "How severe a line is; auto is by its outcome."
    )
    sd: bool = option(Flag(), False, "Structured data, for a syslog server.")
    sd_id: str = option(
        Text(), "lbtwist@32473", "The name of the structured data.", check=_fits("sd-id")
    )


@attr.frozen
class EventLogOptions(SyslogOptions):
    """What may follow a target in C{event-log =}."""

    format: str = option(Word("text", "json"), "text", "What a line looks like.")


@attr.frozen
class _Target:
    """
    Where lines go.

    @ivar target: C{stdout}, C{file}, C{off}, or one of L{SYSLOG}.
    @ivar path: of a file, or of a UNIX socket.
    @ivar host: an address or a name.
    """

    target: str
    path: str = ""
    host: str = ""
    port: int = 0
    where: Position = place()


@attr.frozen
class LogTarget(_Target):
    """One place for lines of the access log: C{log = stdout format=http}."""

    options: LogOptions = LogOptions()


@attr.frozen
class EventLogTarget(_Target):
    """One place for the program's own events."""

    options: EventLogOptions = EventLogOptions()
