"""The text form of filters: Ganeti's language, errors that show the place, no text that hurts."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidQuery, MalformedQuery
from jqueue.job.query import compile_filter, parse_filter, show_position

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('status == "error"', ["==", "status", "error"]),
        ("status='x'", ["==", "status", "x"]),
        ('status != ""', ["!=", "status", ""]),
        ("id < 3 and id >= -1", ["&", ["<", "id", 3], [">=", "id", -1]]),
        ("priority <= 1.5 && id > 0", ["&", ["<=", "priority", 1.5], [">", "id", 0]]),
        (
            "id == 1 or id == 2 || id == 3",
            ["|", ["==", "id", 1], ["==", "id", 2], ["==", "id", 3]],
        ),
        ("not status and id", ["&", ["!", ["?", "status"]], ["?", "id"]]),
        ("not (status or id)", ["!", ["|", ["?", "status"], ["?", "id"]]]),
        ("!archived", ["!", ["?", "archived"]]),
        ("archived == true", ["==", "archived", True]),
        ("id or status and key", ["|", ["?", "id"], ["&", ["?", "status"], ["?", "key"]]]),
        ('summary =~ "COPY"', ["=~", "summary", "COPY"]),
        ("summary =~ m/a b/i", ["=~", "summary", "(?i)a b"]),
        (r"summary =~ m/a\/b\d/", ["=~", "summary", r"a/b\d"]),
        ("summary !~ m#/x#", ["!", ["=~", "summary", "/x"]]),
        ('status =* "q*"', ["=~", "status", "(?s)^q.*$"]),
        ('status !* "q.e?"', ["!", ["=~", "status", r"(?s)^q\.e.$"]]),
        ('"COPY" in summary', ["=[]", "summary", "COPY"]),
        ('"COPY" not in summary', ["!", ["=[]", "summary", "COPY"]]),
        (r'key == "a\"b\\c\d"', ["==", "key", 'a"b\\c\\d']),
        ("received_ts > 1700000000", [">", "received_ts", 1700000000.0]),
        ('end_ts < "2h ago"', ["<", "end_ts", NOW.timestamp() - 7200]),
        ('end_ts < "1.5d"', ["<", "end_ts", NOW.timestamp() - 129600]),
        ('end_ts < "2026-03-01 10:00"', ["<", "end_ts", NOW.timestamp() - 7200]),
        ('end_ts < "2026-03-01T12:00:00Z"', ["<", "end_ts", NOW.timestamp() + 7200]),
    ],
)
def test_text_means_the_list_form(text, form):
    assert parse_filter(text, now=NOW) == form
    compile_filter(form, now=NOW)


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("", 0, "a field"),
        ("status ==", 9, "text"),
        ("status == error", 10, "text goes in quotes"),
        ("(status", 7, ")"),
        ("status)", 6, "the end"),
        ("id == 1 id", 8, "and"),
        ('"x" == status', 4, "in"),
        ("id == 12abc", 6, "a number"),
        ('status == "x', 10, "text"),
        ("stats == 1", 0, "did you mean 'status'"),
        ("id == 1 and nothing", 12, "nothing"),
        ("status =~ 3", 10, "text"),
        ("id == 1 ; rm", 8, "';"),
    ],
)
def test_an_error_shows_the_place(text, position, hint):
    with pytest.raises(InvalidQuery) as caught:
        parse_filter(text, now=NOW)
    assert (caught.value.position, hint in str(caught.value)) == (position, True), caught.value
    assert "\n" not in str(caught.value)
    assert show_position(text, caught.value) == f"{text}\n{' ' * position}^"


def test_a_time_that_is_none_is_refused():
    for text in ('end_ts > "soon"', 'end_ts > "99999999999999999999"', "end_ts > true"):
        with pytest.raises(InvalidQuery, match="is not a time"):
            parse_filter(text, now=NOW)


@pytest.mark.parametrize(
    "text", ["not " * 3000 + "id", "(" * 3000 + "id" + ")" * 3000, "id or " * 20000 + "id"]
)
def test_deep_and_long_text_is_refused_or_read_without_recursion(text):
    with suppress(MalformedQuery):
        parse_filter(text, now=NOW)


@given(st.text(alphabet=" ()\"'\\=~!<>*&|/msid01.orandnt\n", max_size=60) | st.text(max_size=30))
def test_any_text_is_a_filter_or_an_invalid_query(text):
    try:
        form = parse_filter(text, now=datetime.now(UTC))
        compile_filter(form)
    except InvalidQuery as error:
        position = error.position or 0
    else:
        position = 0
    assert 0 <= position <= len(text)
