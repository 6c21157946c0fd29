"""What the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.settings import load


def test_a_tilde_in_a_home_is_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_HOME", "~/flows")
    assert load().home == tmp_path / "flows"
    assert load("~/other").home == tmp_path / "other"
