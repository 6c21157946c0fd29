"""Secrets are hidden however they are quoted."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.redaction import Redactor

SECRET = "sk/7h3\"Qu1ck\\Br0wn+F0x=J9' &é"


def knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    return redactor


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(json.dumps(SECRET)),
        repr(SECRET),
        repr(SECRET.encode()),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET).lower(),
        quote_plus(SECRET),
        html.escape(SECRET),
        SECRET.encode().hex(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"a{SECRET}".encode()).decode(),
        SECRET.replace('"', "%22"),
        SECRET.replace('"', "%22").replace("\\", "\\\\").replace(" ", "+"),
    ],
)
def test_every_form_of_a_secret_is_hidden_in_texts_and_values(form: str) -> None:
    redactor = knowing(SECRET)
    for shown in (
        redactor.text(f"before {form} after"),
        redactor.value({"deep": [f"before {form} after"]})["deep"][0],
    ):
        assert "***" in shown
        assert "Qu1ck" not in shown
        assert b"Br0wn".hex() not in shown
        assert base64.b64encode(SECRET.encode()).decode()[4:12] not in shown
        assert (shown.startswith("before"), shown.endswith("after")) == (True, True)


WAYS = [
    lambda char: char,
    lambda char: quote(char, safe=""),
    lambda char: json.dumps(char)[1:-1],
    html.escape,
]


@settings(max_examples=100, deadline=None)
@given(ways=st.lists(st.sampled_from(WAYS), min_size=len(SECRET), max_size=len(SECRET)))
def test_a_secret_is_hidden_when_each_character_is_escaped_in_its_own_way(ways: list[object]) -> None:
    mixed = "".join(way(char) for way, char in zip(ways, SECRET, strict=True))  # type: ignore[operator]
    assert knowing(SECRET).value(f"<{mixed}>") == "<***>"


def test_other_text_stays_as_it_is() -> None:
    text = "nothing to hide here: 100% of 5 + 3, C:\\path, &amp; 'quotes'"
    assert knowing(SECRET, "short").value(text) == text


def test_a_long_secret_and_a_long_text_take_no_time_to_speak_of() -> None:
    key = base64.b64encode(bytes(range(256)) * 12).decode()
    began = time.process_time()
    redactor = knowing(key)
    assert redactor.text("x+/=" * 250_000 + key).endswith("***")
    assert time.process_time() - began < 20
