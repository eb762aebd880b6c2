"""Field names that would collide in the environ, and names that mean something else to programs (CVE-2016-5385)."""

import pytest

from greenhorn.errors import HTTPError
from greenhorn.http.names import REMEMBERED, FieldNames
from unit.http.cases import Case, Delivery, accepted, chunked, get, in_every_delivery, play, post, refused
from unit.http.driver import Client, Setup

REFUSE = Setup(header_map="refuse")
DANGEROUS = Setup(header_map="dangerous")
FORWARDER = Setup(allowed=("SCRIPT_NAME", "PATH_INFO", "REMOTE_USER"))
FORWARDER_REFUSES = Setup(header_map="refuse", allowed=("SCRIPT_NAME",))
FORWARDER_OF_ALL = Setup(allowed=("*",))
FRAMING = (
    "Content_Length: 3", "Transfer_Encoding: chunked", "Content_Type: zq/a", "Ho_st: zq", "Connection_: close",
)  # fmt: skip

CASES = [
    accepted("underscore", get("X_A: b"), HTTP_X_A=None),
    accepted("underscore beside a hyphen", get("X-A: good", "X_A: evil", "X_a: evil"), HTTP_X_A="good"),
    accepted("underscore before a hyphen", get("X_A: evil", "X-A: good"), HTTP_X_A="good"),
    accepted("underscore and hyphen in one name", get("X_A-B: c"), HTTP_X_A_B=None),
    accepted("underscore alone", get("_: b"), HTTP__=None),
    accepted("SCRIPT_NAME from anybody", get("SCRIPT_NAME: /evil"), SCRIPT_NAME="", HTTP_SCRIPT_NAME=None),
    accepted("REMOTE_USER from anybody", get("REMOTE_USER: root"), REMOTE_USER=None, HTTP_REMOTE_USER=None),
    accepted("Script-Name from anybody", get("Script-Name: /a"), SCRIPT_NAME="", HTTP_SCRIPT_NAME="/a"),
    *(
        accepted(f"{field.partition(':')[0]} frames nothing", get(field), CONTENT_LENGTH=None, CONTENT_TYPE=None)
        for field in FRAMING
    ),
    refused("no name but an underscore field without a colon", get("X_A")),
    refused("underscore, refused", get("X_A: b"), setup=REFUSE),
    accepted("hyphen where underscores are refused", get("X-A: b"), setup=REFUSE, HTTP_X_A="b"),
    accepted("underscore, dangerous", get("X_A: b"), setup=DANGEROUS, HTTP_X_A="b"),
    *(
        accepted(f"{field.partition(':')[0]} frames nothing, dangerous", get(field), setup=DANGEROUS,
                 CONTENT_LENGTH=None, CONTENT_TYPE=None, HTTP_TRANSFER_ENCODING=None)
        for field in FRAMING
    ),
    accepted("Content_Length beside a real one, dangerous", post(b"abc", "Content_Length: 1", "Content-Length: 3"),
             b"abc", setup=DANGEROUS, CONTENT_LENGTH="3"),
    accepted("Content_Length beside chunks, dangerous", chunked(b"1\r\nx\r\n0\r\n\r\n", "Content_Length: 9"),
             b"x", setup=DANGEROUS, CONTENT_LENGTH="1"),
    accepted("a forwarder's SCRIPT_NAME", get("SCRIPT_NAME:"), setup=FORWARDER, SCRIPT_NAME="", PATH_INFO="/"),
    accepted("a forwarder's SCRIPT_NAME in a path", get("script_name: /app").replace(b"/ ", b"/app/a ", 1),
             setup=FORWARDER, SCRIPT_NAME="/app", PATH_INFO="/a"),
    accepted("a forwarder's other name", get("Remote_User: me"), setup=FORWARDER, HTTP_REMOTE_USER="me"),
    accepted("a forwarder's name that is not listed", get("X_A: b"), setup=FORWARDER, HTTP_X_A=None),
    refused("a forwarder's SCRIPT_NAME that does not begin the path", get("SCRIPT_NAME: /app"), 500, FORWARDER),
    refused("a forwarder's SCRIPT_NAME that ends in a word", get("SCRIPT_NAME: /ap").replace(b"/ ", b"/app ", 1), 500,
            FORWARDER),
    accepted("a forwarder's SCRIPT_NAME where others are refused", get("SCRIPT_NAME:"), setup=FORWARDER_REFUSES),
    refused("a forwarder's other name where others are refused", get("X_A: b"), setup=FORWARDER_REFUSES),
    accepted("any name of a forwarder", get("X_A: b"), setup=FORWARDER_OF_ALL, HTTP_X_A="b"),
    accepted("Content_Length of a forwarder", get("Content_Length: 3"), setup=FORWARDER_OF_ALL, CONTENT_LENGTH=None),
    *(accepted(f"{name} is dropped", get(f"{name}: zq"), HTTP_PROXY=None) for name in ("Proxy", "PROXY", "proxy")),
    accepted("Proxy, dangerous", get("Proxy: zq"), setup=DANGEROUS, HTTP_PROXY=None),
    accepted("Proxy of a forwarder", get("Proxy: zq"), setup=FORWARDER_OF_ALL, HTTP_PROXY=None),
    accepted("Proxy-Authorization stays", get("Proxy-Authorization: a"), HTTP_PROXY_AUTHORIZATION="a"),
]  # fmt: skip


@in_every_delivery(CASES)
def test_names_are_passed_on_dropped_or_refused(case: Case, delivery: Delivery) -> None:
    play(case, delivery)


def test_a_dropped_name_is_told_once() -> None:
    told: list[str] = []
    with Client(Setup(dropped=told.append)) as client:
        for _ in range(3):
            client.send(get("X_A: b", "X_A: c", "Proxy: d", "X-A: e"))
        assert len(client.app.seen) == 3
    assert told == ["X_A", "Proxy"]


def test_strangers_cannot_fill_the_memory_of_names_lines_and_hosts() -> None:
    with Client() as client:
        for number in range(REMEMBERED + 100):
            fields = f"X-{number}: a\r\n{'y' * 100}-{number}: a\r\nAccept: {number}\r\nCookie: {number}"
            client.send(b"GET / HTTP/1.1\r\nHost: h%d.example\r\n%b\r\n\r\n" % (number, fields.encode()))
        assert len(client.app.seen) == REMEMBERED + 100
        names = client.connection.names
    assert len(names) <= REMEMBERED
    assert len(names.lines) <= REMEMBERED
    assert len(names.hosts) <= REMEMBERED
    assert not any("Cookie" in line for line in names.lines)
    assert max(map(len, names)) <= 64


def test_what_is_remembered_of_a_name_or_line_does_not_change_what_comes_of_it() -> None:
    requests = [
        get("X_A: b", "X-A: c", "Accept: d"),
        get("Accept: d", "x-a: c", "Accept: d"),
        get("Accept:d", "Accept:  e ", "X-A: f"),
    ]
    with Client() as client:
        for raw in requests * 3:
            client.send(raw)
        seen = [(call.environ["HTTP_X_A"], call.environ["HTTP_ACCEPT"]) for call in client.app.seen]
    assert seen == [("c", "d"), ("c", "d,d"), ("f", "d,e")] * 3


def test_a_remembered_host_counts_only_as_host() -> None:
    with Client() as client:
        client.send(get())
        client.send(get("Host: zq.example"))
        assert [answer.status for answer in client.answers()] == [200, 400]


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "\xe9", "a\n"])
def test_a_name_that_is_no_token_is_refused_every_time(name: str) -> None:
    names = FieldNames()
    for _ in range(2):
        with pytest.raises(HTTPError) as caught:
            names[name]
        assert caught.value.status == 400
