"""Finding the `temporal` binary."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from holdfast.errors import InvalidConfiguration, Unavailable

_HAS_WHEEL = sys.platform != "win32"
_NAME = "temporal.exe" if sys.platform == "win32" else "temporal"


def find_binary(explicit: str | None = None) -> Path:
    """The `temporal` binary to start: `explicit`, else this environment's wheel, else the one on PATH.

    Args:
        explicit: A path from the settings; it must exist.

    Raises:
        InvalidConfiguration: `explicit` names no executable file.
        Unavailable: There is no binary; the message says what to install.
    """
    if explicit is not None:
        path = Path(explicit).expanduser()
        if not path.is_file() or not os.access(path, os.X_OK):
            raise InvalidConfiguration(
                f"The Temporal binary {explicit!r} does not exist or is not executable. "
                "Correct HOLDFAST_TEMPORAL_BINARY, or unset it and run: pip install 'holdfast[embedded]'"
            )
        return path.absolute()
    for folder in dict.fromkeys([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]):
        candidate = Path(folder) / _NAME
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    if (found := shutil.which("temporal")) is not None:
        return Path(found).absolute()
    if (downloaded := _downloaded()) is not None:
        return downloaded
    raise Unavailable(
        "No Temporal binary was found beside this Python or on PATH. Run: pip install 'holdfast[embedded]', "
        "or set HOLDFAST_TEMPORAL_BINARY to a `temporal` binary of version 1.9 or later."
    )


async def find_or_download(explicit: str | None = None) -> Path:
    """As `find_binary`; on Windows, which has no wheel, the Temporal SDK downloads it once."""
    try:
        return find_binary(explicit)
    except Unavailable:
        if _HAS_WHEEL:
            raise
    return await download()


async def download() -> Path:
    """Let the Temporal SDK download its dev server into the user's cache.

    Raises:
        Unavailable: The download failed.
    """
    from temporalio import testing

    environment: Any = testing.WorkflowEnvironment
    folder = _cache()
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    try:
        # The SDK offers the download only together with a start.
        async with await environment.start_local(download_dest_dir=str(folder)):
            pass
    except RuntimeError as error:
        raise Unavailable(
            f"The Temporal binary could not be downloaded to {folder}: {error}. "
            "Install it by hand and set HOLDFAST_TEMPORAL_BINARY."
        ) from error
    found = _downloaded()
    if found is None:
        raise Unavailable(f"The Temporal SDK downloaded no binary to {folder}. Set HOLDFAST_TEMPORAL_BINARY.")
    return found


def _cache() -> Path:
    return Path.home() / ".cache" / "holdfast"


def _downloaded() -> Path | None:
    candidates = [path for path in _cache().glob("temporal*") if os.access(path, os.X_OK)]
    return max(candidates, key=lambda path: path.stat().st_mtime, default=None)
