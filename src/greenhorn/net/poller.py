"""Waiting for many sockets at once: `arm` from any thread, `wait` only from the poller's thread."""

import contextlib
import os
import select
import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Poller(Protocol):
    """What both pollers below do. `READ` and `WRITE` are its words for what a descriptor is armed for.

    A descriptor that is armed is reported once it is ready. What happens on it afterwards is reported at once if
    `keeps_watching`, provided that it was read until nothing was left; else only after it is armed again.
    """

    READ: int
    WRITE: int
    END: int
    """What a descriptor is armed for that is to be reported only when the client ends its stream, if ever."""
    ENDING: int
    """Events that say more than that it is ready: the client ended its stream, or the connection is broken."""
    BROKEN: int
    """Those of them that say that nothing more can be sent either."""
    keeps_watching: bool

    @property
    def arm(self) -> Callable[[int, int], object]:
        """`arm(fd, READ)`: report `fd`, which was added, once it is ready for that or broken. Any thread."""

    def add(self, fd: int) -> None:
        """Begin to watch a connection, armed for reading. Poller's thread."""

    def watch(self, fd: int, *, exclusive: bool = False) -> None:
        """Report `fd` each time it is readable, until it is forgotten. Poller's thread.

        Of several processes that watch the same `exclusive` descriptor, one is told where the kernel can do that.
        """

    def forget(self, fd: int) -> None:
        """Stop watching `fd`, which need not be known; always called before it is closed. Any thread."""

    def wait(self, timeout: float) -> list[tuple[int, int]]:
        """Descriptors and their events, after `timeout` seconds at the latest. Poller's thread."""

    def wake(self) -> None:
        """Make `wait` return soon. Any thread."""

    def close(self) -> None:
        """Give the descriptors back."""


class EpollPoller:
    """Linux: edge-triggered, so that the kernel tells every change once and needs no call between two requests."""

    READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
    WRITE = select.EPOLLOUT | select.EPOLLET
    END = select.EPOLLRDHUP | select.EPOLLET
    BROKEN = select.EPOLLHUP | select.EPOLLERR
    ENDING = select.EPOLLRDHUP | BROKEN
    keeps_watching = True

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.arm: Callable[[int, int], object] = self._epoll.modify
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN | select.EPOLLET)

    def add(self, fd: int) -> None:
        self._epoll.register(fd, self.READ)

    def watch(self, fd: int, *, exclusive: bool = False) -> None:
        self._epoll.register(fd, select.EPOLLIN | (select.EPOLLEXCLUSIVE if exclusive else 0))

    def forget(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def wait(self, timeout: float) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout)

    def wake(self) -> None:
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._wake_fd)


class SelectorPoller:
    """Everywhere else: a selector of the standard library, touched by the poller's thread alone.

    Other threads leave their wish in a deque and wake it.
    """

    READ = selectors.EVENT_READ
    WRITE = selectors.EVENT_WRITE
    END = 0
    ENDING = 0
    BROKEN = 0
    keeps_watching = False

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self._selector = selector or selectors.DefaultSelector()
        self._wishes: deque[tuple[int, int]] = deque()
        self._watched: set[int] = set()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)

    def watch(self, fd: int, *, exclusive: bool = False) -> None:  # noqa: ARG002 - not every kernel can
        self._grant_wishes()
        self._watched.add(fd)
        self._selector.register(fd, selectors.EVENT_READ)

    def add(self, fd: int) -> None:
        self._grant_wishes()  # one may be to forget this number, which came back
        self._selector.register(fd, self.READ)

    def arm(self, fd: int, interest: int) -> None:
        self._wishes.append((fd, interest))
        self.wake()

    def forget(self, fd: int) -> None:
        self._wishes.append((fd, 0))
        self._watched.discard(fd)

    def wait(self, timeout: float) -> list[tuple[int, int]]:
        self._grant_wishes()
        ready = []
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._wake_receiver:
                with contextlib.suppress(BlockingIOError):
                    self._wake_receiver.recv(4096)
            else:
                if key.fd not in self._watched:
                    self._selector.unregister(key.fd)
                ready.append((key.fd, events))
        return ready

    def _grant_wishes(self) -> None:
        while self._wishes:
            fd, interest = self._wishes.popleft()
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
            if interest:
                with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                    self._selector.register(fd, interest)

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake already
            self._wake_sender.send(b"\0")

    def close(self) -> None:
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()


def best_poller() -> Poller:
    """The poller for this platform."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
