"""What the event loop waits for. From one turn to the next, little of it changes."""

import select
import threading
from collections.abc import Mapping
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel

from api.front.policy import EventLoop

_READ, _WRITE = select.EPOLLIN | select.EPOLLPRI, select.EPOLLOUT


class SocketPoll:
    """Waits for sockets with one `epoll`.

    waitress asks every connection in every turn of its loop what it waits for, which costs a
    server with many connections more than their requests. Here a connection is looked at once
    something has happened on it, and whenever a thread has changed it.

    Args:
        channels: Those of the event loop, by descriptor.
    """

    def __init__(self, channels: Mapping[int, Any]) -> None:
        self._channels = channels
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        #: What is waited for, by descriptor.
        self._registered: dict[int, int] = {}

    def turn(self, seconds: float) -> None:
        """Wait for up to so long, and handle what has happened."""
        for descriptor, happened in self._epoll.poll(seconds):
            channel = self._channels.get(descriptor)
            if channel is not None:
                wasyncore.readwrite(channel, happened)
                self.changed(channel)

    def changed(self, channel: Any) -> None:
        """Look at what a channel waits for now. It takes effect at once, from any thread."""
        with self._lock:
            descriptor: int = channel._fileno
            is_known = self._channels.get(descriptor) is channel
            if self._epoll.closed or not is_known:
                return
            wanted = (_READ if channel.readable() else 0) | (
                _WRITE if channel.writable() and not channel.accepting else 0
            )
            registered = self._registered.get(descriptor, 0)
            if wanted == registered:
                return
            # One that waits for nothing must not be told of its peer's end again and again.
            if not wanted:
                self._remove(descriptor)
                return
            if registered:
                self._epoll.modify(descriptor, wanted)
            else:
                self._epoll.register(descriptor, wanted)
            self._registered[descriptor] = wanted

    def look_at_all(self) -> None:
        """Look at what each channel waits for."""
        for channel in list(self._channels.values()):
            self.changed(channel)

    def forget(self, descriptor: int) -> None:
        """Wait no more for a channel. Call it before the socket is closed."""
        with self._lock:
            if not self._epoll.closed and descriptor in self._registered:
                self._remove(descriptor)

    def close(self) -> None:
        """Wait for nothing from now on."""
        with self._lock:
            self._epoll.close()

    def _remove(self, descriptor: int) -> None:
        del self._registered[descriptor]
        self._epoll.unregister(descriptor)


class PolledChannel(HTTPChannel):  # type: ignore[misc]  # waitress is not typed
    """A connection of an event loop with a `SocketPoll`."""

    def __init__(self, server: EventLoop, *args: Any, **kwargs: Any) -> None:
        super().__init__(_ServerOfChannel(server, self), *args, **kwargs)
        server.changed(self)

    def del_channel(self, map: Any = None) -> None:
        """Leave the event loop, before the socket is closed."""
        self.server.closing_soon(self)
        super().del_channel(map)


class _ServerOfChannel:
    """The server as one connection sees it.

    waitress wakes the loop with `pull_trigger`, which does not say what has changed.
    """

    def __init__(self, server: EventLoop, channel: PolledChannel) -> None:
        self._server = server
        self._channel = channel

    def pull_trigger(self) -> None:
        """Say that the connection may wait for something else now."""
        self._server.changed(self._channel)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)
