"""Formats of access lines: which directives there are, what is wrong with one, and which lines are JSON."""

import json

import pytest

from greenhorn.errors import ConfigError
from greenhorn.observe.formats import ATOMS, COMBINED, JSON, Format, format_in_use


def test_a_format_has_its_atoms_in_order_and_knows_which_are_quoted():
    pieces = Format.of('%(h)s "%(r)s" 100%% %({X-A}i)-10s').pieces
    assert [piece.text for piece in pieces] == ["%(h)s", ' "', "%(r)s", '" 100', "%", " ", "%({X-A}i)-10s"]
    assert [piece.quoted for piece in pieces if piece.atom] == [False, True, False]
    assert pieces[-1].family == ("X-A", "i")
    assert pieces[-1].conversion == "%-10s"


@pytest.mark.parametrize(
    "text", ["%(h", "%(h)", "%h", "%", "50% of %(h)s", "%(h)y", "%()s", "%s", "%(h)s %(", "%5%", "%(a)c"]
)
def test_what_is_no_directive_ends_the_start(text: str):
    with pytest.raises(ConfigError, match=r"^access_log_format: .* is no atom; write %\(NAME\)s"):
        Format.of(text)


def test_the_place_of_a_wrong_directive_is_told():
    with pytest.raises(ConfigError, match="at character 7 "):
        Format.of("%(h)s %h")


def test_atoms_that_there_are_not_are_known_by_their_directives():
    assert Format.of("%(h)s %(x)s %({a}z)s %({a}i)s %({}i)s").unknown == ["%(x)s", "%({a}z)s", "%({}i)s"]
    assert Format.of(" ".join(f"%({atom})s" for atom in ATOMS)).unknown == []


@pytest.mark.parametrize(
    ("text", "durations", "ids"),
    [
        (COMBINED, False, False),
        ("%(D)s", True, False),
        ("%(T)s %(id)s", True, True),
        ("%(Q)s", True, False),
        ("%({D}e)s", False, False),
        (JSON, True, True),
    ],
)
def test_what_a_format_needs_is_known(text: str, durations: bool, ids: bool):
    form = Format.of(text)
    assert (form.tells_durations, form.tells_id) == (durations, ids)


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        (JSON, True),
        ('{"a": "%(h)s", "b": %(s)s}', True),
        ('{"a": "100%%", "b": %(s)s}', True),
        (COMBINED, False),
        ("{}", False),
        ("%(s)s", False),
        ('["%(h)s"]', False),
        ('{"a": %(h)s %(s)s}', False),
        ('{"a": -%(h)s}', False),
        ("{%(h)s: 1}", False),
        ('{"a": 1.%(L)s}', False),
        ('{"a": -%(D)s}', True),
    ],
)
def test_a_format_whose_lines_are_objects_is_json(text: str, is_json: bool):
    assert Format.of(text).is_json is is_json


def test_log_format_json_replaces_a_format_that_is_none():
    own = '{"mine": "%(h)s"}'
    assert format_in_use(COMBINED, "json") == Format.of(JSON)
    assert format_in_use(own, "json") == Format.of(own)
    assert format_in_use(COMBINED, "text") == Format.of(COMBINED)
    assert "%(" in JSON
    with pytest.raises(json.JSONDecodeError):
        json.loads(JSON)


@pytest.mark.parametrize(
    "directive", ["%(D)x", "%(D)05d", "%(B)+d", "%(s)o", "%(D)#x", "%(L).3s", "%(B)r", "%(T)a", "%(M)X", "%(b).3d"]
)
def test_a_directive_that_makes_no_number_of_json_ends_the_start_unless_it_is_quoted(directive: str):
    with pytest.raises(ConfigError, match=r"^access_log_format: what '%.*' makes is no number .* in double quotes, or"):
        Format.of(f'{{"a": {directive}}}')
    assert Format.of(f'{{"a": "{directive}"}}').is_json
    assert Format.of(f"{directive} %(h)s").unknown == []


@pytest.mark.parametrize("directive", ["%(D)d", "%(D)12d", "%(L).3f", "%(D)-9i", "%(L)e", "%(B) d", "%(s)s", "%(s)5s"])
def test_a_directive_that_makes_a_number_of_json_may_stand_without_quotes(directive: str):
    assert Format.of(f'{{"a": {directive}}}').is_json


def test_a_json_format_may_be_written_over_several_lines():
    form = Format.of('{\n  "a": "%(h)s",\r\n  "b": %(s)s\n}')
    assert form.is_json
    assert "".join(piece.text for piece in form.pieces) == '{   "a": "%(h)s",   "b": %(s)s }'
