"""The pool of a worker that has no threads but its own: the poller's thread works off what is ready."""

from collections.abc import Callable, Sequence

from greenhorn.workers.pool import Item, Pool


class Inline(Pool[Item]):
    """Calls `work(item)` for each item in the thread that puts it, and `between()` before each.

    What is put while it works is worked off in the next round, so that the poller has its turn in between.
    """

    def __init__(self, work: Callable[[Item], None], between: Callable[[], None]) -> None:
        super().__init__(0, work)
        self._between = between

    @property
    def idle(self) -> int:
        """One: who asks is the thread that would work."""
        return 1

    def put(self, item: Item) -> None:
        """Queue one item for the next round."""
        self.ready.append(item)

    def put_behind(self, item: Item) -> None:
        """The same."""
        self.ready.append(item)

    def put_whole(self, item: Item, *, new: bool) -> None:  # noqa: ARG002 - there is one queue
        """The same."""
        self.ready.append(item)

    def put_all(self, items: Sequence[Item], new: Sequence[Item] = ()) -> None:
        """Work the items off, after those that wait already."""
        self.ready.extend(items)
        self.ready.extend(new)
        self._work_off()

    def oversee(self) -> bool:
        """Work off what was put meanwhile; whether something waits after that."""
        if self.ready:
            self._work_off()
        return bool(self.ready)

    def _work_off(self) -> None:
        for _ in range(len(self.ready)):
            item = self.ready.popleft()
            if item is not None:
                self._between()
                self._work(item)
        self._tell_idle()
