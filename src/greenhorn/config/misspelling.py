"""Variables of a configuration file that are no settings: which were most likely meant to be one."""

import ast
import difflib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

RESEMBLANCE = 0.85
"""How alike, from 0 to 1, an unknown name must be to a setting's to count as its misspelling."""
OWN = "(Begin the name of a variable of your own with an underscore.)"

NONE: Mapping[str, str] = MappingProxyType({})

_DYNAMIC = {"globals", "locals", "vars", "dir", "eval", "exec"}
"""Who calls one of these may read any variable."""


def unread_names(source: bytes) -> frozenset[str]:
    """Return the names that Python code gives values or defines, and never reads itself."""
    read: set[str] = set()
    written: set[str] = set()
    passing: set[str] = set()  # what a loop counts with
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (written if isinstance(node.ctx, ast.Store) else read).add(node.id)
        elif isinstance(node, ast.For | ast.AsyncFor):
            passing.update(each.id for each in ast.walk(node.target) if isinstance(each, ast.Name))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list:
            written.add(node.name)
    return frozenset() if read & _DYNAMIC else frozenset(written - read - passing)


def misspelt(
    name: str, meant: Sequence[str], known: Collection[str], unread: Collection[str], flags: Mapping[str, str] = NONE
) -> str:
    """Return what is wrong with the variable `name` if it surely stands for one of `meant`, names of settings; else "".

    `known` are all variables of the file, `unread` those that it never reads itself. One that resembles a setting which
    is known as well is the file's own (`log_level`, from which it makes `loglevel`). `flags` has the settings whose
    flags have other names; one of several words (`access_logfile`) is nobody's own.
    """
    if name in flags:
        near = [flags[name]] if "_" in name and name in unread else []
    elif name != name.lower():
        near = [] if name == name.upper() or name not in unread else _other_spellings(name, meant)
    else:
        near = difflib.get_close_matches(name, meant, n=3, cutoff=RESEMBLANCE)
        near = [] if name not in unread or any(_extends(name, each) for each in near) else near
    if name.startswith("_") or not near or near[0] in known:
        return ""
    return f"{name} is not a setting: did you mean {' or '.join(near)}? {OWN}"


def doubtful(
    name: str, meant: Sequence[str], known: Collection[str], unread: Collection[str], flags: Mapping[str, str] = NONE
) -> str:
    """Return what somebody should know of the variable `name` if it may stand for one of `meant`; else "".

    That is a setting's name with a word before or behind it (keepalive_timeout), or in capitals, if the file
    does not read it: it then has no effect at all, while `workers_per_core`, of which it makes `workers`, has one.
    """
    if name.startswith("_") or name not in unread:
        return ""
    near = (
        [flags[name]]
        if name in flags
        else _other_spellings(name, meant) or sorted((each for each in meant if _extends(name, each)), key=len)
    )
    if not near or near[-1] in known:
        return ""
    return f"{name} is not a setting, and nothing in the file reads it: did you mean {near[-1]}? {OWN}"


def _extends(name: str, setting: str) -> bool:
    return name.startswith(setting + "_") or name.endswith("_" + setting)


def _other_spellings(name: str, meant: Sequence[str]) -> list[str]:
    return [each for each in meant if _letters(each) == _letters(name)]


def _letters(name: str) -> str:
    return name.replace("_", "").lower()
