"""Where secrets come from, installed packages included."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import InvalidConfiguration, NotFound
from holdfast.redaction import Redactor
from holdfast.secrets import Secrets, secret_sources

VAULT = """
class Vault:
    async def find(self, name):
        return {"TOKEN": "from the vault", "MINE": "also from the vault"}.get(name)

    def place(self, name):
        return f"the vault's {name}"

def exits():
    raise SystemExit("no licence")

def nothing():
    return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a package whose secrets come from the part of `VAULT` with this name."""
    (tmp_path / "vault_of_tests.py").write_text(VAULT, "utf-8")
    info = tmp_path / "vault_of_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vault-of-tests\nVersion: 1.0\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    monkeypatch.delitem(sys.modules, "vault_of_tests", raising=False)
    importlib.invalidate_caches()

    def with_maker(maker: str) -> None:
        text = f"[holdfast.secrets]\nvault = vault_of_tests:{maker}\n"
        (info / "entry_points.txt").write_text(text, "utf-8")

    return with_maker


def secrets(given: dict[str, str] | None = None) -> Secrets:
    return Secrets(secret_sources(given), Redactor())


async def test_an_installed_package_is_asked_after_all_other_places(install: Callable[[str], None]) -> None:
    install("Vault")
    found = secrets({"MINE": "given in code"})
    assert await found.get("MINE") == "given in code"
    assert "vault_of_tests" not in sys.modules, "it was imported though nobody needed it"
    assert await found.get("TOKEN") == "from the vault"
    with pytest.raises(NotFound, match=r"the vault's OTHER \(package 'vault-of-tests'\)"):
        await found.get("OTHER")


@pytest.mark.parametrize(
    ("maker", "says"),
    [
        ("missing", "AttributeError"),
        ("exits", "SystemExit: no licence"),
        ("nothing", "makes None, which is no"),
    ],
)
async def test_a_broken_package_is_named_and_hinders_only_who_needs_it(
    install: Callable[[str], None], maker: str, says: str
) -> None:
    install(maker)
    found = secrets({"MINE": "given in code"})
    assert await found.get("MINE") == "given in code"
    with pytest.raises(
        InvalidConfiguration, match=f"the secrets 'vault' of package 'vault-of-tests'.*{says}"
    ):
        await found.get("TOKEN")


async def test_files_of_a_folder_are_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "TOKEN").write_text("12345678\n", "utf-8")
    monkeypatch.setenv("HOLDFAST_SECRETS_DIR", str(tmp_path))
    assert await secrets().get("TOKEN") == "12345678"
    monkeypatch.setenv("HOLDFAST_SECRET_TOKEN", "of the environment")
    assert await secrets().get("TOKEN") == "of the environment"
