"""A report as a sequence of headings, lines and tables, printed for a terminal or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 or 2."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Bullets:
    """Short lines, one fact each."""

    lines: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under column names. The first `left` columns are words, the others numbers."""

    columns: list[str]
    rows: list[list[str]]
    left: int = 1


Block = Heading | Bullets | Table


def as_text(blocks: list[Block]) -> str:
    """Return the report for a terminal."""
    return "\n\n".join(_text(block) for block in blocks)


def as_markdown(blocks: list[Block]) -> str:
    """Return the report as Markdown with GitHub's tables."""
    return "\n\n".join(_markdown(block) for block in blocks)


def _text(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{block.text}\n{'=-'[block.level - 1] * len(block.text)}"
    if isinstance(block, Bullets):
        return "\n".join(block.lines)
    return "\n".join(_aligned(block))


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Bullets):
        return "\n".join(f"- {line}" for line in block.lines)
    rule = [":--" if index < block.left else "--:" for index in range(len(block.columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (block.columns, rule, *block.rows))


def _aligned(table: Table) -> list[str]:
    everything = [table.columns, *table.rows]
    widths = [max(len(cells[index]) for cells in everything) for index in range(len(table.columns))]
    return [
        "  ".join(
            cell.ljust(width) if index < table.left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in everything
    ]
