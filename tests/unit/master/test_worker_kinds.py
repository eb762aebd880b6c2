"""From what worker_class says to a class, or to one line that says what is wrong."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from greenhorn.config.worker_classes import LIBRARIES, WORKERS
from greenhorn.errors import ConfigError
from greenhorn.master.worker_kinds import find_worker_class
from greenhorn.workers.base import Worker
from greenhorn.workers.gthread import ThreadWorker
from greenhorn.workers.sync import SyncWorker
from unit.offering import offer

SHOP = """
from greenhorn.workers.base import Worker

class Own(Worker):
    prepared = 0

    @classmethod
    def setup(cls):
        cls.prepared += 1

    class Inner(Worker):
        def run(self):
            pass

    run = Inner.run

class Fails(Own):
    @classmethod
    def setup(cls):
        raise OSError("no such device")

class Particular(Own):
    @classmethod
    def setup(cls):
        from greenhorn.errors import ConfigError
        raise ConfigError("own_setting: must be 3")

class Idle(Worker):
    pass

not_a_class = 3
"""
Write = Callable[[str, str], None]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write modules that can be imported for the time of the test: `module("shop_of_test", source)`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


@pytest.fixture
def shop(module: Write) -> str:
    """The name of a module with worker classes, good ones and others."""
    module("shop_of_test", SHOP)
    return "shop_of_test"


def refusal(wanted: str | type) -> str:
    with pytest.raises(ConfigError) as caught:
        find_worker_class(wanted)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", [name for name in WORKERS if name not in LIBRARIES])
def test_each_kind_that_needs_no_library_is_there(name: str):
    found = find_worker_class(name)
    assert issubclass(found, Worker)
    assert WORKERS[name] == f"{found.__module__}:{found.__qualname__}"


def test_a_class_is_taken_as_it_is():
    assert find_worker_class(SyncWorker) is SyncWorker
    assert issubclass(SyncWorker, ThreadWorker)


@pytest.mark.parametrize("form", ["{}.Own", "{}:Own"])
def test_a_dotted_path_is_imported_and_its_class_prepared_once(shop: str, form: str):
    found = find_worker_class(form.format(shop))
    assert (found.__name__, vars(found)["prepared"]) == ("Own", 1)


def test_a_class_within_a_class_can_be_named(shop: str):
    assert find_worker_class(f"{shop}:Own.Inner").__name__ == "Inner"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere_of_test.Own", "nowhere_of_test cannot be imported: No module named 'nowhere_of_test'"),
        ("{shop}.Nobody", "there is no Nobody in {shop}"),
        ("{shop}:Own.Nobody", "there is no Own.Nobody in {shop}"),
        ("{shop}.not_a_class", "is no subclass of greenhorn.workers.base.Worker: it must be"),
        ("{shop}.Fails", "its setup() fails: OSError('no such device')"),
        ("gsync", "is no worker class of greenhorn (did you mean sync?)"),
    ],
)
def test_what_is_wrong_with_a_path_is_told_in_one_line_that_names_the_setting(shop: str, path: str, said: str):
    name = path.format(shop=shop)
    assert refusal(name).startswith(f"worker_class = {name!r}: ")
    assert said.format(shop=shop) in refusal(name)


def test_what_a_class_says_itself_of_its_configuration_is_told_as_it_is(shop: str):
    assert refusal(f"{shop}.Particular") == "own_setting: must be 3"


def test_a_class_that_is_none_of_ours_is_told_by_its_name():
    assert refusal(dict).startswith("worker_class = 'builtins.dict': is no subclass of greenhorn.workers.base.Worker")


def test_a_module_that_needs_gunicorn_where_that_is_missing_is_told_what_to_do(
    module: Write, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "gunicorn", None)
    module("uvi_of_test", "from gunicorn.workers.base import Worker\nclass Own(Worker): pass\n")
    assert "use -k asgi in place of uvicorn's, or import the base class from" in refusal("uvi_of_test:Own")


def test_a_class_without_a_loop_is_told(shop: str):
    assert "it has no method run" in refusal(f"{shop}.Idle")


def test_a_class_on_the_base_of_gunicorn_is_told_which_base_to_take():
    base = pytest.importorskip("gunicorn.workers.base")
    own = type("Own", (base.Worker,), {})
    assert "import the base class from greenhorn.workers.base" in refusal(own)


@pytest.mark.parametrize("source", ["1 / 0", "raise SystemError('broken')"])
def test_a_module_that_fails_is_told_with_its_exception(module: Write, source: str):
    module("broken_of_test", source)
    assert "broken_of_test cannot be imported: " in refusal("broken_of_test:Own")


@pytest.mark.parametrize("name", ["gevent", "eventlet"])
def test_a_library_that_is_missing_is_told_with_the_extra_that_has_it(name: str, monkeypatch: pytest.MonkeyPatch):
    module = WORKERS[name].partition(":")[0]
    for each in (module, "greenhorn.workers.green"):
        monkeypatch.delitem(sys.modules, each, raising=False)
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    message = f"worker_class = {name!r}: needs {name}, which is not installed: pip install 'greenhorn[{name}]'"
    assert refusal(name) == message


def test_an_entry_point_is_a_name(shop: str, tmp_path: Path):
    offer(tmp_path, f"own-of-test = {shop}:Own")
    assert find_worker_class("own-of-test").__name__ == "Own"


@pytest.mark.parametrize("group", ["greenhorn.workers", "gunicorn.workers"])
def test_an_egg_names_the_entry_point_of_a_package(shop: str, tmp_path: Path, group: str):
    offer(tmp_path, f"own = {shop}:Own", group=group)
    assert find_worker_class("egg:shop#own").__name__ == "Own"


def test_an_egg_that_is_not_there_is_told(shop: str, tmp_path: Path):
    offer(tmp_path, f"own = {shop}:Own")
    assert refusal("egg:shop#other").endswith("shop has no entry point other in the group greenhorn.workers")
    assert refusal("egg:no-such-shop#own").endswith("the package no-such-shop is not installed: pip install it")


def test_an_entry_point_whose_module_is_missing_is_told_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    offer(tmp_path, "own-of-test = nowhere_of_test:Own")
    assert refusal("own-of-test").startswith("worker_class = 'own-of-test': nowhere_of_test cannot be imported: ")


def test_a_name_that_several_packages_offer_is_told_with_what_to_write(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.syspath_prepend(other)
    offer(tmp_path, f"own-of-test = {shop}:Own")
    offer(other, f"own-of-test = {shop}:Own.Inner", package="market")
    assert refusal("own-of-test").endswith(f"several packages offer one: name it by its path, as {shop}:Own")
