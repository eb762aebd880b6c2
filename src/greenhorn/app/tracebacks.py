"""Tracebacks of an application that does not load, as its author wants to read them."""

import importlib
import traceback
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def traceback_of(wrong: BaseException) -> str:
    """Return the traceback as Python prints it, without frames of the import system and of this package."""
    report = traceback.TracebackException.from_exception(wrong)
    pending: list[traceback.TracebackException | None] = [report]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack = traceback.StackSummary.from_list(_of_application(part.stack))
            pending += [part.__cause__, part.__context__, *(part.exceptions or ())]
    return "".join(report.format()).rstrip()


def frames_of(wrong: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of the application, and of what it uses, in which `wrong` was raised."""
    return _of_application(traceback.extract_tb(wrong.__traceback__))


def _of_application(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [
        frame
        for frame in frames
        if not frame.filename.startswith("<frozen importlib")
        and frame.filename != importlib.__file__
        and not Path(frame.filename).is_relative_to(_PACKAGE)
    ]
