"""Hooks as functions and as names, what they have to take, and what a wrong one says."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenhorn.config.hooks import forget_modules, hook, hook_name, post_request_hook

Parser = Callable[[object], Callable[..., Any] | None]

pair = hook("server", "worker")


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have modules in the test's folder found, and leave none behind."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    yield
    forget_modules()
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, text: str, name: str = "deploy_hooks.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(parse: Parser, value: object) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is what the tests look at
        parse(value)
    return str(caught.value)


class Recorder:
    def method(self, server: object, worker: object) -> tuple[object, object]:
        return server, worker

    def __call__(self, server: object, worker: object) -> tuple[object, object]:
        return server, worker


@pytest.mark.parametrize("value", [None, "", " "])
def test_nothing_is_no_hook(value: object):
    assert pair(value) is None
    assert post_request_hook(value) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda server, worker: None,  # noqa: ARG005 - what it takes is the point
        lambda *arguments: arguments,
        lambda server, worker, more=None: None,  # noqa: ARG005 - the same
        Recorder().method,
        Recorder(),
        functools.partial(lambda name, server, worker: None, "name"),  # noqa: ARG005 - the same
        max,
    ],
)
def test_whatever_can_be_called_with_the_arguments_is_a_hook(function: Callable[..., Any]):
    assert pair(function) is function


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda server: server, "must take (server, worker), but takes (server)"),
        (lambda server, worker, more: more, "must take (server, worker), but takes (server, worker, more)"),  # noqa: ARG005
        (lambda server, *, worker: worker, "must take (server, worker), but takes (server, *, worker)"),  # noqa: ARG005
        (functools.partial(lambda server, worker: worker, None), "must take (server, worker), but takes (worker)"),  # noqa: ARG005
    ],
)
def test_a_hook_that_takes_something_else_is_refused_with_what_it_has_to_take(function: Callable[..., Any], told: str):
    assert refusal(pair, function) == told


@pytest.mark.parametrize("value", [3, b"x", ["a.b"], True, {}])
def test_what_cannot_be_called_is_no_hook(value: object):
    assert refusal(pair, value).startswith("must be a function that takes (server, worker), or its name as MODULE.NAME")


def test_a_coroutine_function_is_no_hook():
    async def later(server: object, worker: object) -> None:
        pass

    assert "nobody awaits" in refusal(pair, later)


@pytest.mark.parametrize("name", ["deploy.inner.forked", "deploy.inner:forked", " deploy.inner:Group.forked "])
def test_a_name_is_imported(tmp_path: Path, name: str):
    write(tmp_path, "", "deploy/__init__.py")
    write(
        tmp_path,
        "def forked(server, worker): return 'called'\nclass Group:\n    forked = staticmethod(forked)\n",
        "deploy/inner.py",
    )
    assert pair(name)(None, None) == "called"


@pytest.mark.parametrize("name", ["forked", "deploy hooks:x", ":x", "m:", ".x", "m..x", "m:a.", "m:f()", "a:b:c"])
def test_what_is_no_name_is_refused(name: str):
    assert refusal(pair, name) == "must be a function, or its name as MODULE.NAME or MODULE:NAME"


def test_a_name_that_is_not_there_is_refused(tmp_path: Path):
    write(tmp_path, "COUNT = 3\ndef forked(server): pass\n")
    assert refusal(pair, "deploy_hooks.froked") == "there is no froked in module deploy_hooks"
    assert refusal(pair, "deploy_hooks:COUNT").endswith("or its name as MODULE.NAME; deploy_hooks:COUNT is 3")
    assert refusal(pair, "deploy_hooks:forked") == "must take (server, worker), but takes (server)"


def test_a_module_that_is_not_there_is_refused_with_where_it_was_looked_for():
    told = refusal(pair, "deploy_missing.forked")
    assert told.startswith("module deploy_missing cannot be imported: ModuleNotFoundError: No module named")
    assert f"looked in {sys.path[0]}" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nimport deploy_absent\n", "ModuleNotFoundError: No module named 'deploy_absent' ({path}, line 2)"),
        ("x = 1\n\nx = 1 / 0\n", "ZeroDivisionError: division by zero ({path}, line 3)"),
        ("x = = 1\n", "SyntaxError: invalid syntax ({path}, line 1)"),
        ("import sys; sys.exit(7)\n", "SystemExit: 7 ({path}, line 1)"),
    ],
)
def test_a_module_that_raises_is_refused_with_the_line(tmp_path: Path, text: str, told: str):
    path = write(tmp_path, text, "deploy_broken.py")
    wanted = told.format(path=path)
    assert refusal(pair, "deploy_broken:forked") == f"module deploy_broken cannot be imported: {wanted}"


def test_an_interrupt_during_the_import_is_an_interrupt(tmp_path: Path):
    write(tmp_path, "raise KeyboardInterrupt", "deploy_slow.py")
    with pytest.raises(KeyboardInterrupt):
        pair("deploy_slow:forked")


def test_hooks_of_one_module_share_it_until_it_is_forgotten(tmp_path: Path):
    path = write(tmp_path, "seen = []\ndef one(server, worker): seen.append(1)\ndef two(server, worker): return seen\n")
    pair("deploy_hooks.one")(None, None)
    assert pair("deploy_hooks.two")(None, None) == [1]
    path.write_text("def two(server, worker): return 'read anew'\n")
    assert pair("deploy_hooks.two")(None, None) == [1]
    forget_modules()
    assert pair("deploy_hooks.two")(None, None) == "read anew"


def test_a_module_that_was_there_before_is_not_forgotten(tmp_path: Path):
    write(tmp_path, "def one(server, worker): pass\n", "deploy_known.py")
    import deploy_known  # noqa: PLC0415 - it is there only now

    pair("deploy_known.one")
    forget_modules()
    assert sys.modules["deploy_known"] is deploy_known


@pytest.mark.parametrize("place", ["site-packages", "dist-packages"])
def test_an_installed_module_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    write(tmp_path, "def one(server, worker): pass\n", f"{place}/deploy_installed.py")
    monkeypatch.syspath_prepend(tmp_path / place)
    pair("deploy_installed.one")
    module = sys.modules["deploy_installed"]
    forget_modules()
    assert sys.modules["deploy_installed"] is module


@pytest.mark.parametrize("count", [2, 3, 4])
def test_post_request_takes_two_three_or_four_and_is_called_with_four(count: int):
    hooks = (
        lambda worker, req: (worker, req),
        lambda worker, req, environ: (worker, req, environ),
        lambda worker, req, environ, resp: (worker, req, environ, resp),
    )
    stored = post_request_hook(hooks[count - 2])
    assert stored("worker", "req", "environ", "resp") == ("worker", "req", "environ", "resp")[:count]
    assert post_request_hook(stored) is stored


def test_post_request_with_any_number_gets_four():
    assert post_request_hook(lambda *given: given)(1, 2, 3, 4) == (1, 2, 3, 4)
    assert post_request_hook(lambda worker, req, environ=None: environ)(1, 2, 3, 4) == 3  # noqa: ARG005


@pytest.mark.parametrize("function", [lambda worker: worker, lambda a, b, c, d, e: e])  # noqa: ARG005
def test_post_request_with_another_number_is_refused(function: Callable[..., Any]):
    told = refusal(post_request_hook, function)
    assert told.startswith(
        "must take (worker, req), (worker, req, environ) or (worker, req, environ, resp), but takes ("
    )


def recorded(worker: object, req: object) -> None:
    """Stand for a hook with a name."""


def test_a_hook_is_called_by_where_it_is_defined():
    assert hook_name(recorded) == f"{__name__}:recorded"
    assert hook_name(post_request_hook(recorded)) == f"{__name__}:recorded"
    assert hook_name(functools.partial(recorded, None)) == f"{__name__}:recorded"
    assert hook_name(Recorder().method) == f"{__name__}:Recorder.method"
    assert hook_name(Recorder()) == f"{__name__}:Recorder"
    assert hook_name(max) == "builtins:max"
