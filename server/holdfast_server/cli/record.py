"""The options that say who acts and why, for the record of actions."""

from __future__ import annotations

from typing import Annotated

import typer

By = Annotated[str | None, typer.Option(help="Who does it, for the record. Default: you, as user@host.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
