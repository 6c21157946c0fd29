"""What the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import InvalidConfiguration
from holdfast.settings import load


def test_a_tilde_in_a_home_is_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_HOME", "~/flows")
    assert load().home == tmp_path / "flows"
    assert load("~/other").home == tmp_path / "other"


@pytest.mark.parametrize(
    ("value", "compress"), [("1", True), ("on", True), ("", False), ("0", False), ("off", False)]
)
def test_compression_is_switched(monkeypatch: pytest.MonkeyPatch, value: str, compress: bool) -> None:
    monkeypatch.setenv("HOLDFAST_COMPRESS", value)
    assert load().compress is compress


def test_a_switch_that_is_neither_on_nor_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_COMPRESS", "maybe")
    with pytest.raises(InvalidConfiguration, match="HOLDFAST_COMPRESS='maybe': use 1 or 0"):
        load()
