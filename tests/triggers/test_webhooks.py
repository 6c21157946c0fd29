"""Signatures of webhooks, against the published example and against who tries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.errors import InvalidConfiguration, InvalidInput, NotAllowed
from holdfast.triggers import OnWebhook, sign, verify

# The test vector of the public reference implementations.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
HEADERS = {
    "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "WEBHOOK-SIGNATURE": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
NOW = datetime.fromtimestamp(1614265330, UTC)
LATE = timedelta(minutes=5)


def test_the_published_example_is_accepted() -> None:
    delivery = verify(HEADERS, BODY, SECRET, NOW, LATE)
    assert (delivery.id, delivery.at) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", NOW)
    assert verify(HEADERS, BODY, SECRET.removeprefix("whsec_"), NOW, LATE) == delivery
    assert sign(delivery.id, NOW, BODY, SECRET)["webhook-signature"] == HEADERS["WEBHOOK-SIGNATURE"]


def test_one_fitting_signature_of_several_is_enough() -> None:
    several = f"v1,AAAA v1a,xyz v2,{HEADERS['WEBHOOK-SIGNATURE'][3:]} {HEADERS['WEBHOOK-SIGNATURE']}"
    assert verify({**HEADERS, "WEBHOOK-SIGNATURE": several}, BODY, SECRET, NOW, LATE)


@pytest.mark.parametrize(
    "changes",
    [
        {"Webhook-Id": "msg_other"},
        {"Webhook-Id": ""},
        {"Webhook-Id": "a b"},
        {"Webhook-Id": "x" * 300},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "٣"},
        {"webhook-timestamp": "9" * 5000},
        {"WEBHOOK-SIGNATURE": ""},
        {"WEBHOOK-SIGNATURE": "v1,"},
        {"WEBHOOK-SIGNATURE": "v1,ä"},
        {"WEBHOOK-SIGNATURE": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"WEBHOOK-SIGNATURE": "v1,AAAA " * 100},
    ],
)
def test_what_is_signed_otherwise_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(NotAllowed):
        verify({**HEADERS, **changes}, BODY, SECRET, NOW, LATE)


def test_another_body_or_secret_is_refused() -> None:
    with pytest.raises(NotAllowed, match="no signature"):
        verify(HEADERS, BODY + b" ", SECRET, NOW, LATE)
    with pytest.raises(NotAllowed, match="no signature"):
        verify(HEADERS, BODY, "whsec_" + "A" * 32, NOW, LATE)
    for wrong in ("", "whsec_", "not base64!", "whsec_AAAA", "whsec_" + "A" * 88):
        with pytest.raises(InvalidConfiguration) as caught:
            verify(HEADERS, BODY, wrong, NOW, LATE)
        assert "not base64!" not in str(caught.value)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_old_messages_and_those_of_the_future_are_refused(seconds: int) -> None:
    with pytest.raises(NotAllowed, match="sent at"):
        verify(HEADERS, BODY, SECRET, NOW + timedelta(seconds=seconds), LATE)
    assert verify(HEADERS, BODY, SECRET, NOW + timedelta(seconds=seconds - seconds // 301), LATE)


def test_the_value_of_a_secret_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        OnWebhook(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw/+=")
    assert "MfKQ" not in str(caught.value)
    with pytest.raises(InvalidInput, match="input"):
        OnWebhook(secret="BILLING", input="secrets.BILLING")
    with pytest.raises(InvalidInput, match="tolerance"):
        OnWebhook(secret="BILLING", tolerance=timedelta(days=1))
