"""
A configuration as text that can be shown: the sections that it was made of, as they stand in a
file, and what was added since. What is taken from the environment is not filled in, and what looks
secret is not there.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbtwist.config.ini import Document, Option
from lbtwist.config.worded import masked


def shownIn(document: Document) -> str:
    """@return: its sections; comments, and which of them are of which file, are not kept."""
    found = []
    for section in document.sections:
        lines = [str(section)]
        for option in section.options:
            lines += _lines(option)
        found.append("".join(f"{line}\n" for line in lines))
    return "\n".join(found)


def _lines(option: Option) -> Iterator[str]:
    key = f"{option.key} {option.name}".rstrip()
    values = [line.source or line.text for line in option.lines]
    if len(values) == 1:
        yield masked(f"{key} = {values[0]}")
    else:
        yield f"{key} ="
        for value in values:
            yield f"    {masked(value)}"
