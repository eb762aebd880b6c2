"""What a scenario is handed: the server, the clients, and the place for what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from attacking.verdicts import Outcome
    from fleeting.load import Load
    from fleeting.requests import Request
    from fleeting.stage import Stage


def nothing(_request: Request) -> bool:
    """Excuse no failure."""
    return False


@dataclass(slots=True)
class Scene:
    """One scenario under way. `excuse` says which failures nobody can prevent; `seconds` are of `wear_out`."""

    stage: Stage
    load: Load
    outcome: Outcome
    seconds: float
    excuse: Callable[[Request], bool] = nothing
