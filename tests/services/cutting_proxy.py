"""A proxy of TCP whose connections a test can cut."""

import select
import socket
import threading
from contextlib import suppress

SECONDS = 60.0


class Proxy:
    """Forwards connections to the server, and cuts them all."""

    def __init__(self, url: str) -> None:
        self.target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.cuts = 0
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            pair = (near, socket.create_connection(self.target))
            self.pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            # Not `select`, which knows no descriptor above 1023.
            ready = select.poll()
            ready.register(source, select.POLLIN)
            while True:
                ready.poll(1000 * SECONDS)
                if not (data := source.recv(65536)):
                    break
                sink.sendall(data)
        except (OSError, ValueError):
            pass
        self._close((source, sink))

    def _close(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for each in pair:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.cuts += 1
        for pair in self.pairs:
            self._close(pair)

    def close(self) -> None:
        with suppress(OSError):  # closed already
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.cut()
        self.thread.join(SECONDS)
        for pair in self.pairs:
            for each in pair:
                each.close()
