"""Secrets in what is said of the call that follows."""

from __future__ import annotations

import pytest

from holdfast.authoring.next_call import NextCall
from holdfast.authoring.next_secrets import marked, unmarked
from holdfast.errors import InvalidInput
from holdfast.redaction import Redactor
from holdfast.secrets import GivenSecrets, Secrets

VALUES = {"KEY": "ab+c/d ef~", "LONGER": "ab+c/d ef~gh"}


async def asked() -> tuple[Secrets, Redactor]:
    redactor = Redactor()
    secrets = Secrets([GivenSecrets(VALUES)], redactor)
    for name in VALUES:
        await secrets.get(name)
    return secrets, redactor


async def test_markers_stand_for_secrets_and_lead_back_to_them() -> None:
    secrets, redactor = await asked()
    patch = {"url": "http://a/?k=ab%2Bc%2Fd%20ef~&l=ab%2bc%2fd+ef~gh", "list": ["ab+c/d ef~", 3, None]}
    following = marked(NextCall.model_validate({"patch": patch, "max_calls": 2}), secrets, redactor)
    assert following.patch == {
        "url": "http://a/?k={{ secrets.KEY as url }}&l={{ secrets.LONGER as formlower }}",
        "list": ["{{ secrets.KEY }}", 3, None],
    }
    named = frozenset({"LONGER"})
    assert await unmarked(following.patch, {"auth": {"secret": "KEY"}}, named, secrets) == patch


async def test_only_secrets_that_the_config_names_are_put_in() -> None:
    secrets, _ = await asked()
    with pytest.raises(InvalidInput, match="'KEY', which its config does not name"):
        await unmarked({"url": "{{ secrets.KEY }}"}, {"url": "KEYS"}, frozenset({"LONGER"}), secrets)
