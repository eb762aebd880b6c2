"""Parsers of settings that are a choice of several names."""

from collections.abc import Callable


def some_of(*choices: str) -> Callable[[object], tuple[str, ...]]:
    """Return a parser of any number of `choices`, in any case, from a comma-separated text or a list."""

    def parse_choices(value: object) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple | set | frozenset) or not all(isinstance(item, str) for item in items):
            raise ValueError(f"must be any of {', '.join(choices)}, separated by commas, or a list of them")
        chosen = {item.strip().lower() for item in items} - {""}
        if wrong := sorted(chosen.difference(choices)):
            raise ValueError(f"must be any of {', '.join(choices)}, separated by commas; {wrong[0]!r} is none of them")
        return tuple(choice for choice in choices if choice in chosen)

    return parse_choices
