"""Ids: identifiers, not reserved, each once, none that looks like another."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import RESERVED, as_identifier, is_identifier

_LOOKS_LIKE = str.maketrans(
    # Digits and capitals that pass for letters, then Cyrillic and Greek letters that pass for Latin ones.
    "01IаеорсхуіјѕкмтвнАВЕКМНОРСТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρτυ",  # noqa: RUF001 - the ambiguity is the point
    "ollaeopcxyijskmtbhabekmhopctxabezhlkmnoptyxoavptu",
)


def skeleton(text: str) -> str:
    """What a text looks like: two ids of one skeleton are easily taken for each other."""
    seen = unicodedata.normalize("NFKC", text).translate(_LOOKS_LIKE).casefold()
    return seen.replace("rn", "m").replace("vv", "w").replace("_", "")


def check_names(spec: DagSpec) -> Iterator[Finding]:
    """Findings about the ids of nodes, the names of map items and of approvals."""
    if not spec.nodes:
        yield Finding(
            code="HF-D006", message="there are no nodes", fix="Add at least one node.", path="nodes"
        )
    first: dict[str, int] = {}
    alike: dict[str, str] = {}
    for index, node in enumerate(spec.nodes):
        path = f"nodes[{index}].id"
        if node.id in first:
            yield Finding(
                code="HF-D004",
                message=f"{node.id!r} is the id of nodes[{first[node.id]}] and of nodes[{index}]",
                fix="Give one of them another id; in Python with id=.",
                node=node.id,
                path=path,
            )
            continue
        first[node.id] = index
        yield from _check_id(node, path)
        other = alike.setdefault(skeleton(node.id), node.id)
        if other != node.id:
            yield Finding(
                code="HF-D005",
                severity="warning",
                message=f"{node.id!r} looks like {other!r}",
                fix="Rename one of them, so that nobody takes one for the other.",
                node=node.id,
                path=path,
            )
    for index, node in enumerate(spec.nodes):
        if node.map is not None and (reason := _item_name_problem(node.map.item_name, first)):
            yield Finding(
                code="HF-D003",
                message=f"the item of {node.id!r} is called {node.map.item_name!r}, {reason}",
                fix="Choose another item_name, or leave it out and use `item`.",
                node=node.id,
                path=f"nodes[{index}].map.item_name",
            )
    yield from _check_approvals(spec)


def _check_approvals(spec: DagSpec) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for index, node in enumerate(spec.nodes):
        if node.type != "approval":
            continue
        name = str(node.config.get("name", node.id))
        if (other := first.setdefault(name, node.id)) != node.id and "{{" not in name:
            yield Finding(
                code="HF-D007",
                message=f"{other!r} and {node.id!r} are both asked under the name {name!r}",
                fix="Give each approval a name of its own: a decision given twice would decide both.",
                node=node.id,
                path=f"nodes[{index}].config.name",
            )


def _check_id(node: NodeSpec, path: str) -> Iterator[Finding]:
    if not is_identifier(node.id):
        yield Finding(
            code="HF-D002",
            message=f"{node.id!r} cannot be named in expressions: an id is a letter or _, then letters, digits and _, "
            "at most 64",
            fix=f"Call it {as_identifier(node.id)!r}, and let `name` say what people read.",
            node=node.id,
            path=path,
        )
    elif node.id in RESERVED:
        yield Finding(
            code="HF-D003",
            message=f"{node.id!r} already has a meaning in expressions",
            fix=f"Call it {as_identifier(node.id)!r}.",
            node=node.id,
            path=path,
        )


def _item_name_problem(name: str, ids: dict[str, int]) -> str | None:
    if name == "item":
        return None
    if not is_identifier(name):
        return "which is not an identifier"
    if name in RESERVED:
        return "which already has a meaning in expressions"
    return "which is the id of a node" if name in ids else None
