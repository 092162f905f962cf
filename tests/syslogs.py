"""
What reads syslog in tests: a strict parser of RFC 5424, one of octet counting (RFC 6587), and
servers that can stop reading, die and come back.
"""

import re
import select
import socket

import attr

NAME = r'[!#-<>-\\^-~]{1,32}'
VALUE = r'(?:[^"\\\]]|\\["\\\]])*'
PARAM = rf'{NAME}="{VALUE}"'
ELEMENT = rf"\[{NAME}(?: {PARAM})*\]"
# RFC 5424 section 6; the version is 1, and of a day there is no 30 February.
HEADER = re.compile(
    r"<(?P<pri>0|[1-9][0-9]{0,2})>1 "
    r"(?P<time>-|[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-][0-2][0-9]:[0-5][0-9])) "
    r"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    rf"(?P<sd>-|(?:{ELEMENT})+)(?: (?P<message>.*))?",
    re.DOTALL,
)


@attr.frozen
class Message:
    """One message, taken apart; C{data} are the parameters by their names."""

    facility: int
    severity: int
    time: str
    host: str
    app: str
    proc: str
    id: str
    data: dict
    text: str


def parsed(data):
    """@return: what a message of RFC 5424 says. @raise ValueError: if it is none."""
    text = data.decode("utf-8")
    found = HEADER.fullmatch(text)
    if found is None or int(found["pri"]) > 191:
        raise ValueError(f"not of RFC 5424: {data!r}")
    control = [one for one in text if ord(one) < 32 or ord(one) == 127]
    if control:
        raise ValueError(f"control characters: {data!r}")
    elements = re.findall(ELEMENT, found["sd"]) if found["sd"] != "-" else []
    pairs = {}
    for element in elements:
        for name, value in re.findall(rf' ({NAME})="({VALUE})"', element):
            pairs[name] = re.sub(r'\\(["\\\]])', r"\1", value)
    facility, severity = divmod(int(found["pri"]), 8)
    return Message(
        facility, severity, found["time"], found["host"], found["app"], found["proc"], found["id"],
        pairs, found["message"] or "",
    )  # fmt: skip


def uncounted(data):
    """@return: the messages of a stream with octet counting, and what is left of it."""
    found = []
    while True:
        head = re.match(rb"([1-9][0-9]{0,8}) ", data)
        if head is None:
            if len(data) > 10 or not re.fullmatch(rb"([1-9][0-9]*)?", data):
                raise ValueError(f"not counted: {data[:80]!r}")
            return found, data
        end = head.end() + int(head[1])
        if len(data) < end:
            return found, data
        found.append(data[head.end() : end])
        data = data[end:]


class Server:
    """
    A syslog server for streams.

    @ivar port: where it listens.
    """

    def __init__(self, port=0, path="", buffer=0):
        """@param buffer: bytes that the kernel keeps for it, about."""
        self._family = socket.AF_UNIX if path else socket.AF_INET
        self._listening = socket.socket(self._family, socket.SOCK_STREAM)
        if buffer:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(path or ("127.0.0.1", port))
        self._listening.listen()
        self.port = 0 if path else self._listening.getsockname()[1]
        self.connections = []
        self.data = []

    def reads(self, most=1 << 30):
        """
        Take what has come, without waiting.

        @param most: bytes, about.
        @return: whether there was something.
        """
        found = False
        while select.select([self._listening], [], [], 0)[0]:
            self.connections.append(self._listening.accept()[0])
            self.data.append(b"")
        for number, one in enumerate(self.connections):
            end = len(self.data[number]) + most
            while one.fileno() >= 0 and select.select([one], [], [], 0)[0]:
                if len(self.data[number]) >= end:
                    break
                try:
                    data = one.recv(min(most, 1 << 20))
                except ConnectionResetError:
                    data = b""
                if not data:
                    one.close()
                    break
                self.data[number] += data
                found = True
        return found

    def accepts(self):
        """Take the connections, and read nothing."""
        while select.select([self._listening], [], [], 0)[0]:
            self.connections.append(self._listening.accept()[0])
            self.data.append(b"")

    def hangsUp(self):
        """End the connections."""
        for one in self.connections:
            one.close()

    def dies(self):
        """End all of it; what was not read is lost."""
        self.hangsUp()
        self._listening.close()


class Datagrams:
    """A syslog server for datagrams."""

    def __init__(self, port=0, path=""):
        family = socket.AF_UNIX if path else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(path or ("127.0.0.1", port))
        self._socket.setblocking(False)
        self.port = 0 if path else self._socket.getsockname()[1]

    def reads(self):
        """@return: the messages that have come."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(1 << 17))
            except BlockingIOError:
                return found

    def dies(self):
        self._socket.close()
