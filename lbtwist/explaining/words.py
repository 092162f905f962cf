"""
An explanation as text for people: aligned, of no more than 100 columns where words allow
it, with nothing in it that a terminal would obey.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from lbtwist.explaining.explanation import Explanation
from lbtwist.explaining.found import squeezed

WIDTH = 100
_LABEL = 12
_WIDEST = 76
_SHORTEST = 16

_CAME = {
    "not reached": "not asked any more",
    "does not hold": "no",
    "later": "asked when the response comes",
    "not asked": "not asked here: it might wait",
    "waits": "waits",
    "done": "yes, it goes on",
}


def asText(said: Explanation) -> str:
    """@return: lines, without the end of the last one."""
    return "\n".join(_Telling(said).lines())


def shown(value: Any) -> str:
    """@return: a value as the rules language writes it; C{yes} and C{no} for truth."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if isinstance(value, list):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
    return str(value)


def printable(text: str) -> str:
    """@return: without anything that moves a cursor."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _here() -> str:
    """@return: what can be left out of the names of files."""
    found = os.getcwd()
    # Of a daemon it is the root, and in every name.
    return "" if found == os.sep else found + os.sep


def _label(word: str, text: str) -> list[str]:
    """@return: a word and what follows it, wrapped."""
    lines = textwrap.wrap(
        printable(text), WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False
    )
    first, *others = lines or [""]
    return [f"{word:<{_LABEL}}{first}".rstrip(), *(" " * _LABEL + line for line in others)]


class _Telling:
    def __init__(self, said: Explanation) -> None:
        self._said = said
        self._list: tuple[str, str] | None = None
        self._names = self._shortest()
        self._servers = said.of("server")
        self._here = _here()

    def _shortest(self) -> dict[str, str]:
        """@return: files by their last names, where these differ."""
        files = {step["where"].rpartition(":")[0] for step in self._said.steps if "where" in step}
        names = [os.path.basename(file) for file in files]
        return {
            file: os.path.basename(file) if names.count(os.path.basename(file)) == 1 else file
            for file in files
        }

    def _short(self, text: str) -> str:
        """@return: with places as short as they can be."""
        for file, name in self._names.items():
            text = text.replace(f"{file}:", f"{name}:")
        return text.replace(self._here, "") if self._here else text

    def lines(self) -> Iterator[str]:
        for step in self._said.steps:
            tell: Callable[[dict[str, Any]], list[str]] = getattr(self, "_" + step["kind"])
            if step["kind"] != "rule":
                self._list = None
            yield from tell(step)
        action = self._said.action
        text = action.text
        if action.unless:
            text += f"; unless {', '.join(action.unless)} decides otherwise"
        yield from _label("action", self._short(text))

    # what came

    def _request(self, step: dict[str, Any]) -> list[str]:
        line = f"{step['method']} {step['target']}"
        lines = _label("request", f"{line} from {step['src']} to port {step['port']}")
        for field in step["fields"]:
            lines.append(_clipped(" " * _LABEL + printable(": ".join(field)), WIDTH))
        return lines

    def _session(self, step: dict[str, Any]) -> list[str]:
        return _label("session", f"from {step['src']} to port {step['port']}")

    def _frontend(self, step: dict[str, Any]) -> list[str]:
        return _label(
            "frontend", f"{step['name']} on {step['bind']}, mode = {step['mode']}, {step['why']}"
            f" ({self._short(step['where'])})",
        )  # fmt: skip

    def _proxy(self, step: dict[str, Any]) -> list[str]:
        if step["source"] is None:
            return _label("proxy", step["came"])
        to = f" to {step['destination']}" if step["destination"] else ""
        ways = f"from {step['source']}{to}"
        return _label("proxy", f"a header: {ways}; {step['came']}")

    def _tls(self, step: dict[str, Any]) -> list[str]:
        how = step["how"]
        if how in ("none", "refused"):
            return _label("tls", how)
        if how == "passed through":
            return _label("tls", f"passed through, the client asks for {step['sni'] or 'no name'}")
        if how == "spoken":
            return _label("tls", self._spoken(step))
        name = step["sni"] or "no name"
        pattern = f"name {step['name']}" if step["name"] else "no name = of its own"
        lines = _label("tls", f"section {step['section']} ({self._short(step['where'])}) for"
                              f" {name}: {pattern}")  # fmt: skip
        if "policy" in step:
            versions = f"{step['minimum']} to {step['maximum'] or 'the newest'}"
            lines += _label("", f"policy {step['policy']}, {versions}, client-verify"
                                f" {step['client-verify']}")  # fmt: skip
            if step["client-verify"] == "required":
                lines += _label("", "taken for granted: the client shows a good certificate")
        if step["alpn"]:
            lines += _label("", f"alpn {step['alpn']}")
        certificate = step["certificate"]
        if certificate is not None:
            names = ", ".join(certificate["names"])
            lines += _label("", f"certificate {self._short(certificate['file'])} for {names}, until"
                                f" {certificate['until']}")  # fmt: skip
        elif step["problem"]:
            lines += _label("", f"certificate not known: {self._short(step['problem'])}")
        return lines

    @staticmethod
    def _spoken(step: dict[str, Any]) -> str:
        said = [step["version"] or "passed through", step["cipher"]]
        said += [f"for {step['sni']}" if step["sni"] else "for no name"]
        said += [f"alpn {step['alpn']}"] if step["alpn"] else []
        said += ["resumed"] if step["resumed"] else []
        said += [f"client {step['client']}"] if step["client"] else []
        return ", ".join(one for one in said if one)

    # rules

    def _rule(self, step: dict[str, Any]) -> list[str]:
        lines = []
        this = step["stage"], step["owner"]
        if this != self._list:
            self._list = this
            lines.append(f"{step['stage']} rules of {step['owner']}")
        came = _CAME.get(step["came"], "yes")
        if step["decision"] is not None:
            came = f"yes: {step['decision']}" if step["came"] != "failed" else step["decision"]
            if step.get("waited"):
                came = f"yes, and after it has waited: {step['decision']}"
        elif step.get("waited"):
            came = "yes, it goes on after it has waited"
        if step.get("rewrites"):
            came += ", and the response will be changed"
        where = self._short(step["where"])
        indent = " " * (len(where) + 4)
        text = textwrap.wrap(
            f"  {where}  {printable(squeezed(step['text']))}", WIDTH, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        result = textwrap.wrap(
            printable(came), WIDTH, initial_indent=f"{indent}-> ",
            subsequent_indent=f"{indent}   ", break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        lines += [*text, *self._values(step["condition"], len(indent) + 3), *result]
        if "given" in step:
            given = ", ".join(f"{name}={shown(value)}" for name, value in step["given"].items())
            lines += textwrap.wrap(
                f"asked with {given}", WIDTH, initial_indent=f"{indent}   ",
                subsequent_indent=f"{indent}   ",
            )  # fmt: skip
        return lines

    def _values(self, condition: dict[str, Any] | None, indent: int) -> list[str]:
        """The parts of a condition, each with its value in one column."""
        if condition is None:
            return []
        rows = list(_parts(condition, indent))
        column = min(max(len(text) for text, _ in rows), _WIDEST) + 2
        lines = []
        for text, value in rows:
            room = max(WIDTH - max(column, len(text) + 2), _SHORTEST)
            text = _clipped(text, WIDTH - 2 - min(len(value), room))
            lines.append(f"{text:<{column - 2}}  {_clipped(value, room)}")
        return lines

    # heads

    def _departure(self, step: dict[str, Any]) -> list[str]:
        return ["request as it leaves", *_head(step, ("method", "target"))]

    def _response(self, step: dict[str, Any]) -> list[str]:
        return ["response as it leaves", *_head(step, ("status",))]

    # where it goes

    def _pool(self, step: dict[str, Any]) -> list[str]:
        lines = _label("pool", f"{step['name']} ({self._short(step['where'])}): "
                               f"{self._short(step['why'])}")  # fmt: skip
        by = f", {step['by']}" if step["by"] else ""
        score = f", score: {step['score']}" if step["score"] else ""
        return lines + _label("", f"balance = {step['balance']}{by}{score}")

    def _persistence(self, step: dict[str, Any]) -> list[str]:
        kinds = ", ".join(step["kinds"])
        if step["recalled"]:
            return _label("persistence", f"{kinds}: recalls {step['recalled']}, by {step['known']}")
        if not kinds:
            return _label("persistence", "recalls no server")
        why = f": {step['known']}" if step["known"] else ""
        return _label("persistence", f"{kinds}: recalls no server{why}")

    def _source(self, step: dict[str, Any]) -> list[str]:
        found = f"names {step['names']}"
        if step["reason"]:
            found += f", and fails: {step['reason']}"
        if not step["asked"]:
            found = step["reason"] or "it is not asked here: its servers are missing below"
        return _label("source", f"{step['name']}: {step['source']}, {found}")

    def _server(self, step: dict[str, Any]) -> list[str]:
        servers = self._servers
        name = max(len(one["name"]) for one in servers)
        address = max(len(_addressOf(one)) for one in servers)
        active = max(len(_activeOf(one)) for one in servers)
        state = f"out: {step['out']}"
        if not step["out"]:
            score = step["score"]
            state = "" if score is None else f"score {shown(float(score))}"
        first = step is servers[0]
        mark = "*" if step["chosen"] else " "
        line = (
            f"{'servers' if first else '':<{_LABEL - 2}}{mark} {step['name']:<{name}}"
            f"  {_addressOf(step):<{address}}  weight {step['weight']:<3}"
            f"  active {_activeOf(step):<{active}}  {state}"
        )
        return [_clipped(printable(line).rstrip(), WIDTH)]

    def _timeouts(self, step: dict[str, Any]) -> list[str]:
        said = []
        for name, seconds in step["seconds"].items():
            by = " (by a rule)" if name in step["set"] else ""
            said.append(f"{name} {f'{seconds:g}s' if seconds else 'none'}{by}")
        return _label("timeouts", ", ".join(said))

    def _outcome(self, step: dict[str, Any]) -> list[str]:
        status = step["status"] or "no status"
        server = f" by {step['pool']}/{step['server']}" if step["server"] else ""
        said = [f"{status}{server}, ended as {step['ended']}"]
        if step["retries"]:
            said.append(f"{step['retries']} retries")
        said += [word for word in ("redispatched", "reused") if step[word]]
        lines = _label("outcome", ", ".join(said))
        timers = ", ".join(
            f"{name} {'-' if value is None else f'{value}ms'}"
            for name, value in step["timers"].items()
        )
        lines += _label("", f"{timers}; {step['bytesIn']} bytes in, {step['bytesOut']} out")
        return lines + (_label("", step["reason"]) if step["reason"] else [])


def _addressOf(step: dict[str, Any]) -> str:
    return f"{step['address']} tls" if step["tls"] else str(step["address"])


def _activeOf(step: dict[str, Any]) -> str:
    return f"{step['active']}/{step['maxconn']}" if step["maxconn"] else str(step["active"])


def _parts(part: dict[str, Any], indent: int) -> Iterator[tuple[str, str]]:
    text = " " * indent + printable(part["text"])
    if not part["asked"]:
        yield text, "not asked"
        return
    yield text, shown(part["value"])
    for one in part["parts"]:
        yield from _parts(one, indent + 2)


def _head(step: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    lines = []
    before = " ".join(step[name]["before"] for name in names)
    after = " ".join(step[name]["after"] for name in names)
    if before != after:
        lines.append(f"  - {printable(before)}")
    lines.append(f"  {' ' if before == after else '+'} {printable(after)}")
    lines += [
        f"  {one['change']} {printable(one['name'])}: {printable(one['value'])}"
        for one in step["fields"]
    ]
    return [_clipped(line, WIDTH) for line in lines]
