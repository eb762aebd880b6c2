"""The application's own start and stop: the lifespan protocol of ASGI."""

import asyncio
from typing import Any

from greenhorn.app.tracebacks import traceback_of
from greenhorn.errors import AppLoadError
from greenhorn.observe.logger import Logger
from greenhorn.workers.asgi.kind import Application, Message

FAILED = 3
"""The exit code of an application that cannot start, as of one that cannot be imported."""


class Lifespan:
    """Tells an application of start and stop. Belongs to the loop's thread.

    `mode` is on, auto (for applications that take part in it) or off. `state` is what the application has left there
    for its requests.
    """

    def __init__(self, application: Application, mode: str, log: Logger) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._mode = mode
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._asked = False
        """Whether the application has asked for the first message: it takes part."""
        self._stopping = False
        """Whether the application was told to stop."""
        self._failure: str | None = None

    async def startup(self) -> None:
        """Let the application start. Raises `AppLoadError` if it says that it cannot."""
        if self._mode == "off":
            return
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._started, self._stopped = asyncio.Event(), asyncio.Event()
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._started.wait()
        if self._failure is not None:
            raise AppLoadError(f"the application's lifespan cannot start:\n{self._failure}".rstrip("\n:"), FAILED)

    async def shutdown(self, seconds: float) -> None:
        """Let the application stop, within so many seconds."""
        if self._task is None or self._task.done():
            return
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            self._log.error("The application's lifespan did not stop within %.1f s", seconds)
        else:
            if self._failure is not None:
                self._log.error("The application's lifespan failed to stop:\n%s", self._failure)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._application(scope, self._receive, self._send)
        except BaseException as error:  # noqa: BLE001 - it is told
            self._note_end(error)
        else:
            self._note_end(None)
        finally:
            self._started.set()
            self._stopped.set()

    def _note_end(self, error: BaseException | None) -> None:
        if self._started.is_set():
            if error is not None and not self._stopped.is_set() and not isinstance(error, asyncio.CancelledError):
                self._failure = traceback_of(error)
                if not self._stopping:
                    self._log.error("The application's lifespan failed:\n%s", self._failure)
        elif self._failure is not None:
            pass  # it has said why, and may raise that as well
        elif self._mode == "on":
            self._failure = traceback_of(error) if error is not None else "it returned without an answer"
        elif error is not None and self._asked:
            self._log.warning(
                "The application's lifespan failed, and is left out since asgi_lifespan is auto:\n%s",
                traceback_of(error),
            )
        else:
            self._log.debug("the application takes no part in the lifespan protocol")

    async def _receive(self) -> Message:
        self._asked = True
        message = await self._messages.get()
        self._stopping = message["type"] == "lifespan.shutdown"
        return message

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        phase, _, outcome = kind.removeprefix("lifespan.").partition(".")
        event = {"startup": self._started, "shutdown": self._stopped}.get(phase)
        if event is None or outcome not in ("complete", "failed"):
            raise RuntimeError(f"{kind!r} is no message of the lifespan protocol")
        if event.is_set() or (phase == "shutdown" and not self._stopping):
            raise RuntimeError(f"{kind!r} does not answer what the application was told")
        if outcome == "failed":
            self._failure = message.get("message", "") or "it does not say why"
        event.set()
