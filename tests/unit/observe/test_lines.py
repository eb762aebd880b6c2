"""Access lines: every atom of gunicorn and of ours, and that nothing a client sends can break a line."""

import datetime as dt
import json
import os
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhorn.errors import HTTPError
from greenhorn.http.head import Limits, parse_head
from greenhorn.http.names import FieldNames
from greenhorn.observe.access import NotTimed, Refusal, Unread
from greenhorn.observe.escaping import escape
from greenhorn.observe.formats import COMBINED, JSON, Format
from greenhorn.observe.lines import compile_line
from unit.observe.exchanges import TIME, Answer, Times, basic, environ_of, head

EVERYTHING = (
    "%(h)s %(u)s %(id)s %({x-a}i)s %({x-a}o)s %({x-a}e)s "
    '"%(r)s" "%(R)s" "%(U)s" "%(q)s" "%(f)s" "%(a)s" %(m)s %(H)s %(E)s'
)


def line(
    form: str, asked: Any = None, answer: Any = None, *, times: Any = None, reason: str = "", **environ: Any
) -> str:
    """The line of an exchange, without its end."""
    asked = asked or head()
    others = environ_of(asked, **environ) if not isinstance(asked, Unread) else environ
    made = compile_line(Format.of(form))(times or Times(), others, asked, answer or Answer(), reason)
    assert made.endswith("\n")
    return made[:-1]


FULL = head(
    "X-Shop: y 1", "Referer: http://r/", "User-Agent: curl/8", basic(b"joe:x"), request_line="GET /%61?b=c HTTP/1.1"
)


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("%(h)s", "198.51.100.7"),
        ("%(l)s", "-"),
        ("%(u)s", "joe"),
        ('"%(r)s"', '"GET /%61?b=c HTTP/1.1"'),
        ("%(r)s", "GET /%61?b=c HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(R)s", "/%61?b=c"),
        ("%(U)s", "/a"),
        ("%(q)s", "b=c"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "404"),
        ("%(B)s", "1234"),
        ("%(b)s", "1234"),
        ("%(f)s", "http://r/"),
        ("%(a)s", "curl/8"),
        pytest.param("%(p)s", f"<{os.getpid()}>", id="pid"),
        pytest.param("%(P)s", str(os.getpid()), id="bare pid"),
        ("%(id)s", "abc"),
        ("%(E)s", "-"),
        ("%({X-Shop}i)s", "y\\x201"),
        ('"%({x-shop}i)s"', '"y 1"'),
        ("%({host}i)s", "a"),
        ("%({content-type}i)s", "-"),
        ("%({x-id}o)s", "2"),
        ("%({X-None}o)s", "-"),
        ("%({remote_port}e)s", "4242"),
        ("%({wsgi.url_scheme}e)s", "http"),
        ("%({mixed}e)s", "7"),
        ("%({none}e)s", "-"),
        ("%(no)s", "-"),
        ("%({no}z)s", "-"),
        ("%(s)d|%(s)5s|%(h)-15s|", "404|  404|198.51.100.7   |"),
        ("%(B)08d %(h)d %(s)x", "00001234 198.51.100.7 194"),
        ("100%% {braces} 'quotes' \\ \t", "100% {braces} 'quotes' \\ \t"),
    ],
)
def test_each_atom_has_its_value(directive: str, value: str):
    answer = Answer("404 Not Found", 1234, (("X-Id", "1"), ("x-ID", "2")))
    assert line(directive, FULL, answer, **{"greenhorn.request_id": "abc", "Mixed": 7}) == value


@pytest.mark.parametrize(
    ("atom", "value"), [("T", "12"), ("M", "12[0-9]{3}"), ("D", "12[0-9]{6}"), ("L", r"12\.[0-9]{6}")]
)
def test_the_total_time_is_told_in_gunicorns_units(atom: str, value: str):
    now = time.monotonic()
    assert re.fullmatch(value, line(f"%({atom})s", times=Times(now - 13, now - 12.25, now - 2)))


def test_the_time_in_the_queue_and_in_the_application_are_told_in_seconds():
    now = time.monotonic()
    queue, application = line("%(Q)s %(A)s", times=Times(now - 3.5, now - 3, now - 2)).split()
    assert queue == "1.500000"
    assert 2 <= float(application) < 60
    assert line("%(Q)s %(A)s %(D)s", times=NotTimed()) == "0.000000 0.000000 0"
    assert line("%(Q)s", times=Times(now + 1, now, now)) == "0.000000"


def test_times_of_the_day_are_local_and_have_their_zone():
    assert re.fullmatch(TIME, line("%(t)s"))
    told = dt.datetime.strptime(line("%(z)s"), "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((dt.datetime.now(dt.UTC) - told).total_seconds()) < 60


def test_the_default_is_apaches_combined_line():
    assert re.fullmatch(
        rf'198\.51\.100\.7 - joe {TIME} "GET /%61\?b=c HTTP/1\.1" 200 5 "http://r/" "curl/8"', line(COMBINED, FULL)
    )


def test_what_is_not_known_is_a_dash():
    assert line("%(h)s %(u)s %(f)s %(a)s %(s)s", head(), Answer(None, 0), REMOTE_ADDR="") == "- - - - -"


def test_what_an_application_has_put_into_the_environ_cannot_break_a_line():
    class Unprintable:
        def __str__(self) -> str:
            raise LookupError

    assert line("%(h)s %({a}e)s", a=Unprintable(), REMOTE_ADDR=["1 2"]) == "['1\\x202'] -"
    assert line("%({nobody}e)s", **{"a\nb": 1}) == "-"


def test_the_reason_of_a_refusal_stands_behind_the_line_or_where_the_format_has_it():
    refusal = Refusal("400", 0, "so")
    assert line("%(s)s", answer=refusal, reason='no "x"') == '400 "no \\x22x\\x22"'
    assert line("%(E)s %(s)s", answer=refusal, reason="bad line") == "bad\\x20line 400"
    assert line('{"status": %(s)s}', answer=refusal, reason='"x"') == '{"status": 400, "reason": "\\"x\\""}'
    assert line('{"reason": %(E)s}', answer=refusal, reason="x") == '{"reason": "x"}'
    assert line('{"status": %(s)s}') == '{"status": 200}'


def test_a_request_that_could_not_be_read_has_as_much_as_there_is():
    unread = Unread('GET /"\x1b HTTP/9')
    assert line('"%(r)s" %(r)s %(m)s %(U)s', unread, Refusal("400", 3, "so")) == (
        '"GET /\\x22\\x1b HTTP/9" GET\\x20/\\x22\\x1b\\x20HTTP/9 - -'
    )


def test_json_has_null_for_what_is_not_there():
    found = json.loads(line(JSON, head(), Answer(None, 0), REMOTE_ADDR=""))
    assert [found[name] for name in ("id", "client", "user", "status", "agent", "referer", "reason")] == [None] * 7
    assert found["target"] == "/a?b=c"
    assert found["bytes"] == 0
    assert found["pid"] == os.getpid()


def test_in_json_a_text_without_quotes_gets_them():
    made = line('{"a": %(a)s, "b": "%(a)s", "c": %(p)s, "d": %(no)s}', head('User-Agent: "x"'))
    assert json.loads(made) == {"a": '"x"', "b": '"x"', "c": f"<{os.getpid()}>", "d": None}


def test_in_json_a_converted_text_stays_one_and_what_is_not_there_null():
    asked = head('User-Agent: abc"\\')
    made = line('{"a": "%(a).4s", "b": "%(a)r", "c": %(a).5s, "d": %(f)-9s, "e": %(h)15s, "f": "%(D)x"}', asked)
    found = json.loads(made)
    assert [found[name] for name in "abcdef"] == ['abc"', repr('abc"\\'), 'abc"\\', None, "   198.51.100.7", "0"]


def test_what_is_cut_in_quotes_is_not_cut_within_an_escape():
    assert line('"%(a).4s"', head('User-Agent: abc"def')) == '"abc\\x22"'
    assert line('"%(a).4s"', head("User-Agent: abcdef")) == '"abcd"'


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("character", ["\t", '"', "\\", "\x80"])
def test_one_character_that_could_do_harm_is_escaped(character: str, strict: bool):
    asked = head(f"User-Agent: a{character}b")
    made = compile_line(Format.of('"%(a)s"'), strict=strict)(Times(), {}, asked, Answer(), "")
    assert made == f'"a\\x{ord(character):02x}b"\n'


def test_of_a_head_that_was_changed_after_it_was_parsed_everything_is_escaped():
    asked = head()
    asked.target = "/\n"
    made = compile_line(Format.of('"%(r)s"'), strict=True)(Times(), {}, asked, Answer(), "")
    assert made == '"GET /\\x0a HTTP/1.1"\n'


# Whatever a client sends.

latin = st.characters(max_codepoint=255)
values = st.text(latin.filter(lambda character: character not in "\r\n\0"), max_size=25)
anything = st.text(st.characters(), max_size=25)


@st.composite
def requests(draw: st.DrawFn) -> Any:
    """A head that can be parsed or the beginning of one that cannot."""
    path = "/" + draw(values)
    fields = [f"{name}: {draw(values)}" for name in ("Referer", "User-Agent", "X-A")]
    raw = "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, basic(draw(st.binary(max_size=25)))])
    try:
        return parse_head(raw.encode("latin-1"), FieldNames(), Limits())
    except HTTPError:
        return Unread(draw(st.text(latin, max_size=40)))


@settings(deadline=None, derandomize=True, database=None, max_examples=400)
@given(requests(), anything, anything, st.booleans())
def test_no_request_can_split_or_forge_a_text_line(asked: Any, variable: str, reason: str, strict: bool):
    environ = {"REMOTE_ADDR": variable, "X-A": variable, "greenhorn.request_id": variable}
    answer = Answer("200 OK", 1, (("X-A", variable.encode("ascii", "replace").decode()),))
    made = compile_line(Format.of(EVERYTHING), strict=strict)(Times(), environ, asked, answer, reason)
    bare = r"(?:[!#-\[\]-~]|\\x[0-9a-f]{2,})*"
    quoted = rf'"(?:{bare}| )*"'
    assert re.fullmatch(rf"{bare}(?: {bare}){{5}}(?: {quoted}){{6}}(?: {bare}){{3}}\n", made)


@settings(deadline=None, derandomize=True, database=None, max_examples=400)
@given(requests(), anything, anything.filter(lambda reason: reason not in ("", "-")))
def test_no_request_can_break_a_line_of_json(asked: Any, variable: str, reason: str):
    environ = {"REMOTE_ADDR": variable, "X-A": variable, "greenhorn.request_id": variable}
    answer = Answer("200 OK", 1, (("X-A", variable.encode("ascii", "replace").decode()),))
    own = '{"h": %(h)s, "q": "%({x-a}e)s", "i": "%({x-a}i)s", "o": %({x-a}o)s, "u": "%(u)s", "r": "%(r)s"}'
    for form in (JSON, own):
        made = compile_line(Format.of(form))(Times(), environ, asked, answer, reason)
        assert made.isascii()
        assert made.count("\n") == 1
        found = json.loads(made)
        assert found.get("reason") == reason
    assert found["q"] == variable
    assert found["r"] == asked.request_line


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(requests(), anything, st.sampled_from(["%({x})-9.4s", "%({x}).1s", "%({x})r", "%({x})a", "%({x})5d", "%({x})x"]))
def test_no_request_can_break_a_line_by_how_its_values_are_converted(asked: Any, variable: str, directive: str):
    names = ("a", "r", "u", "h", "{x-a}i", "{X-A}e")
    environ = {"REMOTE_ADDR": variable, "X-A": variable}
    quoted = [f'"{directive.replace("{x}", name)}"' for name in names]
    made = compile_line(Format.of(" ".join(quoted)))(Times(), environ, asked, Answer(), "")
    assert re.fullmatch(r'"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2,})*"(?: "(?:[ !#-\[\]-~]|\\x[0-9a-f]{2,})*"){5}\n', made)
    for values in (quoted, [text.strip('"') for text in quoted]):
        members = ", ".join(f'"{number}": {value}' for number, value in enumerate(values))
        made = compile_line(Format.of(f"{{{members}}}"))(Times(), environ, asked, Answer(), "")
        assert list(json.loads(made)) == list("012345")


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(max_size=40))
def test_an_escaped_value_is_printable_ascii_without_quotes(value: str):
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2,})*", escape(value))


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(latin, max_size=30), st.text(latin, max_size=30))
def test_two_values_that_a_client_can_send_never_look_the_same(first: str, second: str):
    assert (escape(first) == escape(second)) == (first == second)


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("plain text;", "plain text;"),
        ('a"b', "a\\x22b"),
        ("a\\b", "a\\x5cb"),
        ("a\tb", "a\\x09b"),
        ("\xe4\xff", "\\xe4\\xff"),
        ("a\r\nb\0\x7f", "a\\x0d\\x0ab\\x00\\x7f"),
    ],
)
def test_what_could_forge_a_line_is_escaped(value: str, escaped: str):
    assert escape(value) == escaped


@pytest.mark.parametrize(
    ("field", "user"),
    [
        (basic(b"joe:secret"), "joe"),
        (basic(b"joe"), "joe"),
        (basic(b":secret"), "-"),
        (basic(b""), "-"),
        (basic(b"joe doe:x"), "joe\\x20doe"),
        (basic(b'a"b\\c:x'), "a\\x22b\\x5cc"),
        (basic(b"a\nb\r\tc:x"), "a\\x0ab\\x0d\\x09c"),
        (basic("jürgen:x".encode()), "j\\xfcrgen"),
        (basic(b"\xff:x"), "\\xfffd"),
        (basic(b"\0:x"), "\\x00"),
        ("Authorization: Basic !!!", "-"),
        ("Authorization: Basic am9lO", "-"),
        ("Authorization: Basic", "-"),
        ("Authorization: Bearer am9lOng=", "-"),
        ("Authorization: basic   am9lOng=", "joe"),
        ("Authorization: Basic \xe4\xf6", "-"),
        ("Authorization:", "-"),
    ],
)
def test_the_user_is_that_of_basic_credentials(field: str, user: str):
    assert line("%(u)s", head(field)) == user
