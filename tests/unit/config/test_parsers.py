"""What a setting's value may look like: text of a flag, and Python values of a file."""

import glob
import os
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenhorn.config import parsers


@pytest.mark.parametrize(
    ("value", "number"), [(0, 0), (7, 7), ("7", 7), (" 7 ", 7), ("0x10", 16), ("0o17", 15), ("0b11", 3)]
)
def test_a_whole_number_is_an_int_or_text_in_any_base(value: object, number: int):
    assert parsers.whole(value) == number


@pytest.mark.parametrize("value", [-1, "-1", "", "many", "1.5", 1.5, 2.0, True, False, None, [1], "08"])
def test_what_is_no_whole_number_is_refused_with_what_is_valid(value: object):
    with pytest.raises(ValueError, match="must be a whole number, 0 or more"):
        parsers.whole(value)


def test_a_flag_of_an_enumeration_becomes_a_plain_number():
    assert type(parsers.whole(ssl.CERT_REQUIRED)) is int


@pytest.mark.parametrize("value", [0, "0", -3])
def test_a_positive_number_is_not_zero(value: object):
    with pytest.raises(ValueError, match="1 or more"):
        parsers.positive(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (90, 90),
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h0m5s", 3605),
        ("0", 0),
    ],
)
def test_seconds_may_have_units(value: object, number: int):
    assert parsers.seconds(value) == number


@pytest.mark.parametrize("value", ["", "s", "1.5", 1.5, "-1", -1, "500ms", "5m1h", "1h 30m", "1d", True, None])
def test_what_is_no_duration_is_refused(value: object):
    with pytest.raises(ValueError, match=r"whole seconds.*1h30m"):
        parsers.seconds(value)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_units_add_up(hours: int, minutes: int, rest: int):
    total = hours * 3600 + minutes * 60 + rest
    assert parsers.seconds(f"{hours}h{minutes}m{rest}s") == total
    assert parsers.seconds(total) == parsers.seconds(str(total)) == parsers.seconds(f"{total}s") == total


@given(st.one_of(st.text(), st.floats(), st.booleans(), st.binary(), st.none()))
def test_seconds_are_a_number_or_a_clear_refusal(value: object):
    try:
        assert parsers.seconds(value) >= 0
    except ValueError as wrong:
        assert str(wrong).startswith("must be")  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (65536, 65536),
        ("65536", 65536),
        ("0x10", 16),
        (0, 0),
        ("0", 0),
        ("64K", 65536),
        (" 64k ", 65536),
        ("512M", 536_870_912),
        ("1.5G", 1_610_612_736),
        ("0.1K", 102),
        ("2T", 2_199_023_255_552),
    ],
)
def test_a_size_may_have_a_unit(value: object, count: int):
    assert parsers.size(value) == count


@pytest.mark.parametrize("value", ["", "M", "1.5", 1.5, "-1", -1, "512MB", "512 M", "1P", ".5G", "1.G", True, None])
def test_what_is_no_size_is_refused_with_examples(value: object):
    with pytest.raises(ValueError, match=r"must be bytes.*64K, 512M or 1\.5G"):
        parsers.size(value)


@given(st.integers(0, 10**6), st.sampled_from("KMGT"))
def test_units_of_sizes_are_powers_of_1024(count: int, unit: str):
    assert parsers.size(f"{count}{unit}") == count * 1024 ** ("KMGT".index(unit) + 1)


@pytest.mark.parametrize(("value", "count"), [(1, 1), (100, 100), (0, 32768), (32768, 32768), (99999, 32768)])
def test_a_field_count_of_zero_or_above_the_most_is_the_most(value: object, count: int):
    assert parsers.field_count(value) == count


@pytest.mark.parametrize(("value", "on"), [(True, True), ("TRUE", True), ("yes", True), (1, True), ("1", True)])
@pytest.mark.parametrize("opposite", [False, "False", "no", "off", 0, "0", "n"])
def test_a_switch_is_a_bool_or_its_text(value: object, on: bool, opposite: object):
    assert parsers.switch(value) is on
    assert parsers.switch(opposite) is False


@pytest.mark.parametrize("value", ["", "maybe", 2, None, [], 1.0])
def test_what_is_no_switch_is_refused(value: object):
    with pytest.raises(ValueError, match="true or false"):
        parsers.switch(value)


def test_a_path_may_be_a_path_object():
    assert parsers.path(Path("/var/log/app.log")) == "/var/log/app.log"


@pytest.mark.parametrize("value", ["", " ", None, 3, b"/x", "a\0b"])
def test_what_is_no_path_is_refused(value: object):
    with pytest.raises(ValueError, match="must be a path"):
        parsers.path(value)


def test_unset_is_none_or_empty_text():
    parse = parsers.optional(parsers.path)
    assert parse(None) is None
    assert parse("") is None
    assert parse("-") == "-"
    with pytest.raises(ValueError, match="must be a path"):
        parse(3)


def test_a_directory_is_absolute_and_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parsers.directory("inner") == str(tmp_path / "inner")
    assert parsers.directory(".") == str(tmp_path)
    with pytest.raises(ValueError, match=r"directory that exists .*/outer is none"):
        parsers.directory("outer")


def test_a_file_is_no_directory(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="must be a directory"):
        parsers.directory(tmp_path / "file")


def test_watched_files_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "settings.toml").touch()
    monkeypatch.chdir(tmp_path)
    watched = (str(tmp_path / "settings.toml"),)
    assert parsers.watched_files("settings.toml") == watched
    assert parsers.watched_files([Path("./settings.toml")]) == watched
    assert parsers.watched_files(str(tmp_path / "settings.toml")) == watched
    assert parsers.watched_files(None) == parsers.watched_files([]) == ()


def test_a_watched_file_has_to_exist_but_a_pattern_need_not_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    patterns = ("templates/**/*.html", "v?", "[ab].txt")
    assert parsers.watched_files(patterns) == tuple(str(tmp_path / pattern) for pattern in patterns)
    with pytest.raises(ValueError, match=r"must be files that exist, or patterns .*/missing is not there"):
        parsers.watched_files(["templates/*.html", "missing"])


def test_a_directory_with_brackets_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "[shop]").mkdir()
    (tmp_path / "[shop]" / "a.html").touch()
    monkeypatch.chdir(tmp_path / "[shop]")
    assert parsers.watched_files("a.html") == (str(tmp_path / "[shop]" / "a.html"),)
    [pattern] = parsers.watched_files("*.html")
    assert glob.glob(pattern) == [str(tmp_path / "[shop]" / "a.html")]  # noqa: PTH207 - as the pattern is used
    with pytest.raises(ValueError, match="is not there"):
        parsers.watched_files("missing")


@pytest.mark.parametrize("value", [3, b"x", {"a": 1}, [3], [""], ""])
def test_watched_files_are_paths(value: object):
    with pytest.raises(ValueError, match="must be a path"):
        parsers.watched_files(value)


def test_the_start_directory_keeps_its_symbolic_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert parsers.start_directory() == str(tmp_path / "current")
    assert parsers.directory(".") == str(tmp_path / "current")


@pytest.mark.parametrize("pwd", ["/", "relative", "/does/not/exist", ""])
def test_a_wrong_pwd_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pwd: str):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", pwd)
    assert parsers.start_directory() == os.path.realpath(tmp_path)


def test_a_choice_is_taken_in_any_case():
    parse = parsers.one_of("drop", "refuse")
    assert parse(" Refuse ") == "refuse"
    for value in ("keep", "", None, 3):
        with pytest.raises(ValueError, match="must be one of drop, refuse"):
            parse(value)


@pytest.mark.parametrize(
    ("value", "mode"),
    [
        (True, "auto"),
        (False, "off"),
        (None, "off"),
        ("none", "off"),
        ("0", "off"),
        ("V1", "v1"),
        ("v2", "v2"),
    ],
)
def test_the_proxy_protocol_has_four_modes(value: object, mode: str):
    assert parsers.proxy_mode(value) == mode


def test_an_unknown_proxy_mode_is_refused():
    with pytest.raises(ValueError, match="off, v1, v2, auto"):
        parsers.proxy_mode("v3")


def test_a_list_may_be_a_single_text():
    assert parsers.addresses("unix:/x") == ("unix:/x",)
    assert parsers.addresses(["a:1", " b:2 "]) == ("a:1", "b:2")


@pytest.mark.parametrize("value", ["", " ", [""], ["127.0.0.1:8000", " "]])
def test_what_an_unset_variable_leaves_of_an_address_is_refused(value: object):
    with pytest.raises(ValueError, match=r"^must not be empty: name an address, .* or 0\.0\.0\.0:8000 to let"):
        parsers.addresses(value)


@pytest.mark.parametrize("value", [3, b"x", {"a": 1}, ["a", 3], [None]])
def test_a_list_holds_texts_only(value: object):
    with pytest.raises(ValueError, match="must be a text or a list of texts"):
        parsers.texts(value)


@pytest.mark.parametrize("value", [[], (), None])
def test_there_is_at_least_one_address(value: object):
    with pytest.raises(ValueError, match="at least one address"):
        parsers.addresses(value)


def test_assignments_keep_their_values_as_written():
    assert parsers.assignments(["A=1", "B= x=y ", "C="]) == ("A=1", "B= x=y ", "C=")
    assert parsers.assignments(None) == ()


@pytest.mark.parametrize("value", ["A", "=1", ["A=1", "B"], {"A": "1"}, [3]])
def test_an_assignment_needs_a_name_and_an_equals_sign(value: object):
    with pytest.raises(ValueError, match="must be KEY=VALUE"):
        parsers.assignments(value)


def test_directories_and_names_are_separated_by_commas():
    assert parsers.directories("a, b,,/c") == ("a", "b", "/c")
    assert parsers.directories(["a,b", "c"]) == ("a", "b", "c")
    assert parsers.names("script_name,*") == ("SCRIPT_NAME", "*")
    assert parsers.names("") == ()


def test_networks_come_out_in_canonical_spelling():
    value = "10.0.0.0/255.0.0.0, 127.0.0.1, ::1, 2001:DB8::/32, *"
    assert parsers.networks(value) == ("10.0.0.0/8", "127.0.0.1", "::1", "2001:db8::/32", "*")
    assert parsers.networks(["10.1.2.3"]) == ("10.1.2.3",)
    assert parsers.networks("") == parsers.networks(None) == ()


def test_a_network_with_host_bits_is_refused_with_both_readings():
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8 or 10\.0\.0\.1$"):
        parsers.networks("10.0.0.1/8")


@pytest.mark.parametrize("value", ["localhost", "10.0.0.256", "10.0.0.0/33", "10.0.0", 10, [b"::1"]])
def test_what_is_no_network_is_refused(value: object):
    with pytest.raises(ValueError, match="must be IP addresses, networks"):
        parsers.networks(value)


def test_header_values_have_upper_case_names_and_cannot_be_changed():
    values = parsers.header_values({"x-forwarded-proto": "https"})
    assert values == {"X-FORWARDED-PROTO": "https"}
    with pytest.raises(TypeError):
        values["X"] = "y"


@pytest.mark.parametrize("value", ["X=y", None, ["X"], {"X": 1}, {1: "x"}, {"": "x"}])
def test_header_values_are_a_dict_of_texts(value: object):
    with pytest.raises(ValueError, match="must be a dict of header names"):
        parsers.header_values(value)
