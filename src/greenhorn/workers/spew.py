"""Writes every line of Python that a worker executes: the setting spew."""

import contextlib
import linecache
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_OWN = str(Path(__file__).parent.parent) + "/"


def install(write: Callable[[str], object]) -> None:
    """Trace from now on what is called in this thread, in those to come, and, from Python 3.12 on, in those there are.

    `write` gets each line before it is executed, as `module:line: source` with the newline, in the thread that executes
    it. Lines of greenhorn and of the import system are left out, calls from there are not; code without a source, such
    as that of `exec`, shows its function instead. A `write` that fails with `OSError` or `ValueError`, as a
    closed stream does, loses the line; other exceptions surface in the application and end the trace of the thread.
    """
    ending = sys.is_finalizing  # when the modules that are needed here go

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if file.startswith((_OWN, "<frozen ")) or frame.f_globals.get("__name__", "").startswith("greenhorn."):
            return None
        if event == "line" and not ending():
            source = linecache.getline(file, frame.f_lineno, frame.f_globals).rstrip()
            module = frame.f_globals.get("__name__", "[unknown]")
            with contextlib.suppress(OSError, ValueError):
                write(f"{module}:{frame.f_lineno}: {source or f'[{frame.f_code.co_qualname}]'}\n")
        return trace

    # Python 3.12 has one that sets it in all threads, existing ones included.
    getattr(threading, "settrace_all_threads", threading.settrace)(trace)
    sys.settrace(trace)
