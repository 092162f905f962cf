"""
Servers as a file names them that is looked at again and again, and the files of secrets that
other sources need.
"""

from __future__ import annotations

import os
import stat

import attr
from zope.interface import implementer

from lbtwist.errors import BalancerError
from lbtwist.interfaces import IServerSource
from lbtwist.options import Path, option
from lbtwist.registry import Context
from lbtwist.server import Found
from lbtwist.sources.lists import BadList, isJSON, membersOf

MOST = 1024 * 1024
"""Bytes of a list of servers."""

MOST_SECRET = 4096
"""Bytes of a file with a secret."""


class NoFile(BalancerError):
    """A file that cannot be read, or is not what it should be."""


def contents(path: str, most: int) -> str:
    """
    @return: the text of an ordinary file.
    @raise NoFile: with its path and the reason.
    """
    try:
        # Whoever opened a pipe would wait for its other end, with all the process.
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise NoFile(f"{path} is not an ordinary file")
            data = file.read(most + 1)
    except OSError as failed:
        raise NoFile(f"{path}: {failed.strerror}") from None
    if len(data) > most:
        raise NoFile(f"{path} is longer than {most >> 10} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError as wrong:
        raise NoFile(f"{path}: byte 0x{data[wrong.start]:02x} is not UTF-8") from None


def secret(path: str) -> str:
    """
    @return: the first line of a file.
    @raise NoFile: if it cannot be read, or if there is nothing that a header field can hold.
    """
    lines = contents(path, MOST_SECRET).splitlines()
    found = lines[0].strip() if lines else ""
    if not found or not found.isascii() or not found.isprintable():
        raise NoFile(f"{path}: its first line is no secret: it is empty, or not ASCII")
    return found


@implementer(IServerSource)
class ServerFile:
    """
    C{file:PATH}: the servers that a file names, see L{lbtwist.sources.lists}.

    It is read every time: what has changed is seen by what it says, whatever its times are. A
    list of lines has to end with a line end: without one somebody may be writing it, and a
    port of which half is there is a port.
    """

    interval = 1.0
    limit = 10.0

    @attr.frozen
    class Options:
        path: str = option(Path(), doc="The file.", positional=True)

    def __init__(self, options: Options, context: Context) -> None:
        self._path = options.path
        self._read: tuple[str, Found] | None = None

    def discover(self) -> Found:
        text = contents(self._path, MOST)
        if self._read is None or self._read[0] != text:
            if text and not text.endswith("\n") and not isJSON(text):
                raise NoFile(f"{self._path} does not end with a line end, it may not be whole")
            try:
                self._read = (text, Found(membersOf(text, local=True)))
            except BadList as wrong:
                raise NoFile(f"{self._path}: {wrong}") from None
        return self._read[1]
