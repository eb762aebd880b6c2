"""APP_MODULE to callable, and what is said when there is none."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import greenhorn
from greenhorn.app import load_app
from greenhorn.errors import AppLoadError

HELLO = """
from collections import OrderedDict
from pathlib import Path

def app(environ, start_response):
    return [b"hello"]

def create(*args, **kwargs):
    def made(environ, start_response):
        return [repr((args, kwargs)).encode()]
    return made

def strict(first, *, second):
    return app

def confused():
    return int("many", 3, 4, 5)

def ending():
    raise SystemExit("enough")

def forgetful():
    pass

value = {}
nothing = None
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory that is first on sys.path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    (tmp_path / "hello.py").write_text(HELLO)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(spec: str) -> tuple[int, str]:
    with pytest.raises(AppLoadError) as caught:
        load_app(spec)
    return caught.value.exit_code, str(caught.value)


def body(application: Callable[..., list[bytes]]) -> bytes:
    return b"".join(application({}, None))


def test_a_module_and_a_name():
    assert body(load_app("hello:app")) == b"hello"
    assert body(load_app(" hello:app ")) == b"hello"


def test_without_a_name_it_is_application(folder: Path):
    (folder / "plain.py").write_text("def application(environ, start_response): return [b'plain']")
    assert body(load_app("plain")) == b"plain"


def test_a_module_in_a_package(folder: Path):
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "wsgi.py").write_text("def application(environ, start_response): return [b'shop']")
    assert body(load_app("shop.wsgi")) == b"shop"


def test_a_factory_is_called_with_its_literal_arguments():
    assert body(load_app("hello:create()")) == b"((), {})"
    spec = "hello:create('a:b', -1, [None, (2.5,)], x={'k': {True}}, y=b'z')"
    assert body(load_app(spec)) == b"(('a:b', -1, [None, (2.5,)]), {'x': {'k': {True}}, 'y': b'z'})"


def test_an_object_that_can_be_called_is_an_application(folder: Path):
    (folder / "objects.py").write_text("class App:\n def __call__(self, e, s): return [b'o']\napp = App()")
    assert body(load_app("objects:app")) == b"o"


@pytest.mark.parametrize(
    "spec",
    [
        "hello:a.b",
        "hello:app[0]",
        "hello:create().x",
        "hello:a.b()",
        "hello:",
        "hello:1",
        "hello:app:x",
        "hello:x y",
    ],
)
def test_an_expression_that_is_no_name_and_no_call_is_refused(spec: str):
    code, message = refusal(spec)
    assert code == 4
    assert "is neither a name nor a call of one" in message
    assert spec.partition(":")[2] in message


@pytest.mark.parametrize("arguments", ["x", "1, y=x", "*[1]", "**{'a': 1}", "f()", "__import__('os')", "{[]: 1}"])
def test_arguments_that_are_no_literals_are_refused(arguments: str):
    code, message = refusal(f"hello:create({arguments})")
    assert code == 4
    assert "the arguments of create must be literals" in message


def test_a_call_that_does_not_fit_is_told_in_one_line():
    code, message = refusal("hello:strict(1)")
    assert code == 4
    assert "the call does not fit: strict() missing 1 required keyword-only argument: 'second'" in message
    assert "\n" not in message


def test_a_type_error_inside_a_factory_is_told_with_its_traceback(folder: Path):
    code, message = refusal("hello:confused()")
    assert code == 3
    assert f'File "{folder / "hello.py"}"' in message
    assert "TypeError" in message
    assert "greenhorn/app/" not in message


def test_an_exit_inside_a_factory_is_a_failure():
    code, message = refusal("hello:ending()")
    assert code == 3
    assert message.endswith("SystemExit: enough")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("hello:value", "value is a dict, which cannot be called"),
        ("hello:nothing", "nothing is None"),
        ("hello:forgetful()", "forgetful returned None"),
        ("hello:value()", "what is called is a dict"),
    ],
)
def test_what_is_no_application_is_refused(spec: str, told: str):
    code, message = refusal(spec)
    assert code == 4
    assert told in message


def test_a_missing_name_is_told_with_the_callables_there_are():
    code, message = refusal("hello")
    assert code == 4
    assert "the module hello has no 'application'" in message
    assert "its callables are app, create, strict, confused, ending, forgetful:" in message
    assert message.endswith("did you mean hello:app?")
    assert refusal("hello:creat")[1].endswith("did you mean hello:create?")


def test_a_module_without_callables_says_so(folder: Path):
    (folder / "empty.py").write_text("from collections import OrderedDict\n")
    assert refusal("empty")[1].endswith("nor anything else that could be an application")


def test_a_missing_module_is_told_with_the_directory_and_without_a_traceback(folder: Path):
    code, message = refusal("nowhere:app")
    assert code == 3
    assert f"no module named nowhere (looked in {folder} and" in message
    assert "Traceback" not in message


def test_a_missing_package_above_the_module_is_named():
    code, message = refusal("nowhere.wsgi:app")
    assert code == 3
    assert message.startswith("no module named nowhere (")


def test_a_missing_module_in_a_package_is_told_with_its_place(folder: Path):
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    code, message = refusal("shop.wsgi")
    assert code == 3
    assert "no module named shop.wsgi" in message
    assert f"the package shop is at {folder / 'shop'}" in message


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("hello.py", "did you mean hello:app?"),
        ("hello.py:create", "did you mean hello:create?"),
        ("hello.app", "hello is a module, not a package: did you mean hello:app?"),
        ("./hello.py:app", "is a path: name the module, as in hello:app"),
        ("src/shop/wsgi.py", "is a path: name the module, as in src.shop.wsgi:application"),
    ],
)
def test_a_file_spelled_instead_of_a_module_is_told_the_right_spelling(spec: str, meant: str):
    code, message = refusal(spec)
    assert code == 3
    assert message.endswith(meant)


@pytest.mark.parametrize("spec", ["", ":app", ".hello:app", "hello..x:app", "hello.:app"])
def test_a_spec_without_a_module_is_refused(spec: str):
    code, message = refusal(spec)
    assert code == 3
    assert "names no module" in message


def test_a_module_that_imports_what_is_missing_is_told_with_its_own_traceback(folder: Path):
    (folder / "broken.py").write_text("def load():\n    import not_installed\nload()\n")
    code, message = refusal("broken:app")
    assert code == 3
    assert message.splitlines()[0] == "broken:app: the module broken cannot be imported:"
    assert message.endswith("ModuleNotFoundError: No module named 'not_installed'")
    assert [line.strip() for line in message.splitlines() if line.startswith("  File")] == [
        f'File "{folder / "broken.py"}", line 3, in <module>',
        f'File "{folder / "broken.py"}", line 2, in load',
    ]
    assert str(Path(greenhorn.__file__).parent) not in message
    assert "importlib" not in message


def test_causes_and_groups_keep_their_own_frames_only(folder: Path):
    (folder / "deep.py").write_text("import importlib\nimportlib.import_module('deeper')\n")
    (folder / "deeper.py").write_text(
        "try:\n    1 / 0\nexcept ZeroDivisionError as wrong:\n"
        "    raise ExceptionGroup('both', [ValueError('one')]) from wrong\n"
    )
    _, message = refusal("deep:app")
    assert "ZeroDivisionError: division by zero" in message
    assert "ValueError: one" in message
    assert "deep.py" in message
    assert "frozen importlib" not in message


def test_a_syntax_error_is_told_with_its_line(folder: Path):
    (folder / "typo.py").write_text("x = 1\ndef app(:\n")
    code, message = refusal("typo:app")
    assert code == 3
    assert f'File "{folder / "typo.py"}", line 2' in message
    assert "SyntaxError" in message


@pytest.mark.parametrize("raised", ["SystemExit(0)", "GeneratorExit()", "BaseException('x')", "OSError(5, 'x')"])
def test_whatever_a_module_raises_is_its_failure(folder: Path, raised: str):
    (folder / "raising.py").write_text(f"raise {raised}\n")
    code, message = refusal("raising:app")
    assert code == 3
    assert raised.partition("(")[0] in message.splitlines()[-1]


@pytest.mark.parametrize("spec", ["interrupted:app", "hello:interrupt()"])
def test_an_interrupt_is_no_failure_of_the_application(folder: Path, spec: str):
    (folder / "interrupted.py").write_text("raise KeyboardInterrupt")
    with (folder / "hello.py").open("a") as file:
        file.write("\ndef interrupt():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_app(spec)
