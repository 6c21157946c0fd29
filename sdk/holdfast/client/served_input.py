"""Arguments of workflows whose code is in other processes, checked by what workers have published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from holdfast.errors import InvalidConfiguration, InvalidInput, Unavailable

if TYPE_CHECKING:
    from holdfast.client.client import Client


async def served_schema(client: Client, workflow: str, queue: str) -> Mapping[str, Any] | None:
    """The JSON Schema of a workflow's arguments, an object with one property per parameter, in their order; `None`
    where nobody has published it, or it cannot be known.

    Args:
        client: Whose workers.
        workflow: The workflow's name.
        queue: Where it is served.
    """
    if not client.store.kept:
        return None
    try:
        offer = (await client.workers.catalogue(queue=queue)).find("workflows", workflow)
    except (Unavailable, InvalidConfiguration):
        return None
    return None if offer is None else offer.input_schema


def check_served(workflow: str, schema: Mapping[str, Any], values: Sequence[Any]) -> None:
    """Refuse arguments that do not fit.

    Args:
        workflow: The workflow's name.
        schema: Of its arguments, as `served_schema` gives it.
        values: All arguments, in their order, each such that it can be written as JSON.

    Raises:
        InvalidInput: They are too many or too few, or one does not fit; names the first few places.
    """
    from holdfast.spec.check_config import compile_schema
    from holdfast.spec.source import path_text

    names = list(schema.get("properties", {}))
    if len(values) != len(names):
        raise InvalidInput(
            f"workflow {workflow!r} takes {len(names)} arguments ({', '.join(names)}), not {len(values)}"
        )
    try:
        problems = compile_schema(schema, templates=False)
    except ValueError:  # a worker has published something else
        return
    found = problems(dict(zip(names, to_jsonable_python(list(values)), strict=True)))
    if found:
        listed = "; ".join(f"{path_text(path)}: {message}" for message, path in found[:5])
        raise InvalidInput(f"the input does not fit workflow {workflow!r}: {listed}")
