"""Reports: failing cases one by one, and a table of what held per file, as text or as Markdown."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from conform.cases import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from conform.session import Result
    from conform.verdicts import Verdict

WHY_CHARACTERS = 100
GOT_CHARACTERS = 400


def failures(results: Iterable[Result], level: str) -> list[Result]:
    """Return the cases of `level` that do not hold."""
    return [result for result in results if result.case.level == level and not result.holds]


def text_report(results: Sequence[Result], *, verbose: bool) -> Iterator[str]:
    """Yield the lines of the report: failing musts at length, failing shoulds compactly, then the table."""
    if verbose:
        yield from (line for result in results if result.holds for line in success(result))
    for result in failures(results, "must"):
        yield from long_failure(result)
    shoulds = failures(results, "should")
    if shoulds:
        yield f"{len(shoulds)} should not hold as they should:"
    for result in shoulds:
        yield from long_failure(result) if verbose else [short_failure(result)]
    yield ""
    rows = table(results)
    width = max(len(row[0]) for row in rows)
    yield from (f"{name:{width}}  {must:>12}  {should:>12}" for name, must, should in rows)


def markdown_report(results: Sequence[Result]) -> Iterator[str]:
    """Yield the table and the shoulds that do not hold, as Markdown."""
    head, *rows = table(results)
    yield f"| {head[0]} | {head[1]} | {head[2]} |"
    yield "|---|---:|---:|"
    yield from (f"| {name} | {must} | {should} |" for name, must, should in rows)
    for level in LEVELS:
        failing = failures(results, level)
        if failing:
            yield f"\n`{level}` that do not hold ({len(failing)}):\n"
            yield "| case | delivery | expected | what came |"
            yield "|---|---|---|---|"
        for result in failing:
            modes, verdict = grouped(result)[0]
            cells = (result.case.id, modes, result.case.expect, verdict.wrong)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(results: Iterable[Result]) -> list[tuple[str, str, str]]:
    """Return a heading, a row per file, and the total: name, musts held of all, shoulds held of all."""
    counts: dict[str, dict[str, list[int]]] = {}
    for result in results:
        for name in (result.case.file, "total"):
            levels = counts.setdefault(name, {level: [0, 0] for level in LEVELS})
            levels[result.case.level][0] += result.holds
            levels[result.case.level][1] += 1
    names = [name for name in counts if name != "total"] + [name for name in counts if name == "total"]
    cells = [(name, *(share(*counts[name][level]) for level in LEVELS)) for name in names]
    return [("file", "must", "should"), *((name, must, should) for name, must, should in cells)]


def share(held: int, total: int) -> str:
    """Render a row's cell."""
    return f"{held}/{total}" if total else "-"


def grouped(result: Result) -> list[tuple[str, Verdict]]:
    """Return the failing deliveries, those with the same fault together."""
    groups: dict[str, list[str]] = defaultdict(list)
    first: dict[str, Verdict] = {}
    for mode, verdict in result.verdicts.items():
        if not verdict.holds:
            groups[verdict.wrong].append(mode)
            first.setdefault(verdict.wrong, verdict)
    return [(", ".join(modes), first[wrong]) for wrong, modes in groups.items()]


def success(result: Result) -> Iterator[str]:
    """Yield the lines on one case that holds."""
    yield f"holds  {result.case.level:6} {result.case.id}: {result.case.expectation()}"
    yield from (f"       {mode}: {verdict.got[:GOT_CHARACTERS]}" for mode, verdict in result.verdicts.items())


def long_failure(result: Result) -> Iterator[str]:
    """Yield the lines on one failing case."""
    case = result.case
    yield f"FAILS  {case.level:6} {case.file}: {case.id}"
    yield f"       expected {case.expectation()}"
    yield f"       because  {case.why}"
    for modes, verdict in grouped(result):
        yield f"       {modes}: {verdict.wrong}"
        yield f"         got {verdict.got[:GOT_CHARACTERS]}"


def short_failure(result: Result) -> str:
    """Render one failing case on one line."""
    modes, verdict = grouped(result)[0]
    why = result.case.why[:WHY_CHARACTERS]
    return f"  {result.case.id} [{modes}] expected {result.case.expect}: {verdict.wrong}; {why}"
