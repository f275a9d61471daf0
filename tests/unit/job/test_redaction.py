"""Redaction: secrets are hidden by name and by shape, and what is none stays as it is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqueue.job.redaction import REDACTED, Redaction, is_secret_name

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "name",
    [
        "password", "db_password", "dbPassword", "PGPASSWORD", "passphrase", "token", "apiToken",
        "secret", "client-secret", "key", "ssh_key", "sshKeys", "api_key", "apikey", "credentials",
        "auth", "Authorization", "AWS_SECRET_ACCESS_KEY", "session_cookie",
    ],
)  # fmt: skip
def test_a_parameter_with_the_name_of_a_secret_is_hidden_however_deep(name):
    redaction = Redaction()
    given = {"OP_ID": "OP_COPY", "to": [{"host": "a", name: {"inner": [SECRET, 1]}}]}
    assert redaction.value(given) == {"OP_ID": "OP_COPY", "to": [{"host": "a", name: REDACTED}]}
    assert redaction.counts == {f"parameter {name}": 1}


@pytest.mark.parametrize(
    "name", ["monkey", "keyboard", "author", "password_file", "tokenPath", "pass_dir", "path", ""]
)
def test_a_name_that_only_looks_like_a_secrets_is_none(name):
    assert not is_secret_name(name)


def test_flags_and_nothing_are_no_secrets():
    assert Redaction().value({"password": None, "use_token": True}) == {
        "password": None,
        "use_token": True,
    }


def test_no_value_of_an_environment_is_shown():
    redaction = Redaction()
    assert redaction.value({"env": {"HOME": "/root", "X": "y"}}) == {
        "env": {"HOME": REDACTED, "X": REDACTED}
    }
    assert redaction.value({"environment": ["A=b=c"]}) == {"environment": [f"A={REDACTED}"]}
    assert redaction.counts == {"environment value": 3}


@pytest.mark.parametrize(
    "text",
    [
        f"connecting to postgres://bob:{SECRET}@db/x now",
        f"connecting to postgres://bob:a@{SECRET}@db/x now",
        f"https://{SECRET}@example.org/",
        f"Authorization: Bearer {SECRET}",
        f"curl -H 'Authorization: Basic {SECRET}' https://x",
        f"X-Api-Key: {SECRET}",
        f"got bearer {SECRET} from it",
        f"mysqldump --password={SECRET} all",
        f"tool --password {SECRET} all",
        f"tool --api-key '{SECRET} x' all",
        f"PGPASSWORD={SECRET} psql",
        f"PGPASSWORD='a b {SECRET}' psql",
        f'{{"password": "a\\" {SECRET}"}}',
        f"{{'token': '{SECRET}'}}",
        f"password: {SECRET}",
        f"failed: token={SECRET}",
        f"tool -a -token {SECRET}",
        f"a=b=c, key: 'password={SECRET}'",
        f"GET /?user=a&token={SECRET}&b=c",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
        f"ghp_{SECRET}{SECRET}",
        f"eyJ{SECRET}.{SECRET}.{SECRET}",
    ],
)
def test_a_text_in_the_shape_of_a_secret_is_shown_without_it(text):
    redaction = Redaction()
    shown = redaction.text(text)
    assert SECRET not in shown
    assert REDACTED in shown
    assert redaction.counts.total() >= 1


@pytest.mark.parametrize(
    "argv",
    [
        ["tool", "--password", SECRET, "x"],
        ["tool", "--password=" + SECRET],
        ["sshpass", "-pass", SECRET],
        ["curl", "-u", "bob:" + SECRET, "https://x"],
        ["curl", "-H", "Authorization: Bearer " + SECRET],
        ["env", "TOKEN=" + SECRET, "true"],
        ["rsync", "https://bob:" + SECRET + "@host/"],
        ["sh", "-c", "mysql --password=" + SECRET],
    ],
)
def test_a_command_line_is_shown_without_its_secrets(argv):
    shown = Redaction().value({"OP_ID": "OP_EXEC", "argv": argv})["argv"]
    assert SECRET not in str(shown)
    assert len(shown) == len(argv)
    assert shown[0] == argv[0]


@pytest.mark.parametrize(
    "text",
    [
        "rsync -a /home backup:/home",
        "KeyError: 'name'",
        "TokenError: unexpected end",
        "key: value, pass: 3, fail: 0",
        "fetched https://example.org/@scope/package",
        "2030-01-31 12:00:00 copied 3 files",
        "--password-file /etc/pw --verbose",
        "user@host:/path",
        "a == b, key == 3",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(text):
    redaction = Redaction()
    assert redaction.text(text) == text
    assert not redaction.counts


def test_redacting_twice_changes_nothing_more():
    once = Redaction().text(f"--token {SECRET} TOKEN={SECRET}\nAuthorization: Bearer {SECRET}")
    again = Redaction()
    assert again.text(once) == once
    assert not again.counts


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
@given(VALUES)
def test_any_value_is_redacted_without_an_error(value):
    Redaction().value(value)


@pytest.mark.parametrize(
    "unit",
    ["a", "password", "token=", 'a="', "a='\\", "://", "x://@", "-", "--a ", "eyJ", "bearer ",
     "authorization: ", "-----BEGIN PRIVATE KEY-----", "x-", "x-key", "a.", "\\", "eyJaaaaaaaa."],
)  # fmt: skip
def test_no_text_takes_long(unit):
    text = unit * (200_000 // len(unit))
    began = time.process_time()
    Redaction().text(text)
    # Quadratic time would be minutes.
    assert time.process_time() - began < 5
