"""One end of a WebSocket connection, spoken by wsproto."""

from wsproto import WSConnection
from wsproto.events import BytesMessage, TextMessage


class Peer:
    """
    One end.

    @ivar socket: what it speaks on.
    """

    def __init__(self, connection, kind):
        self.socket = connection
        self._state = WSConnection(kind)
        self._events = []

    def send(self, event):
        self.socket.sendall(self._state.send(event))

    def receive(self, kind):
        """@return: the next event; a message whole, whatever frames it came in."""
        pieces = []
        while True:
            while not self._events:
                data = self.socket.recv(65536)
                self._state.receive_data(data or None)
                self._events = list(self._state.events())
            event = self._events.pop(0)
            assert isinstance(event, kind), event
            if not isinstance(event, BytesMessage | TextMessage):
                return event
            pieces.append(event.data)
            if event.message_finished:
                return pieces[0][:0].join(map(type(pieces[0]), pieces))
