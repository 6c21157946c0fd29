"""How long it takes to read, hash, check and draw large DAG documents: `python -m benchmarks.spec`."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from holdfast.spec.diagram import layered, of_spec, to_svg
from holdfast.spec.document import dump_json, load_json
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec
from holdfast.spec.validate import validate

CATALOGUE = {
    "http": {
        "type": "object",
        "properties": {"url": {"type": "string"}, "body": {}, "number": {"type": "integer"}},
        "required": ["url"],
        "additionalProperties": False,
    }
}


def layered_document(count: int, width: int, *, own_expressions: bool) -> dict[str, Any]:
    """Layers of `width` nodes, each with up to three dependencies in the layer before it."""
    chance = random.Random(7)
    nodes: list[dict[str, Any]] = []
    for index in range(count):
        first = (index // width - 1) * width
        sources = sorted({f"n{first + chance.randrange(width)}" for _ in range(3)}) if first >= 0 else []
        used = sources[0] if sources else "input"
        shown = used if own_expressions else "input"
        nodes.append(
            {
                "id": f"n{index}",
                "type": "http",
                "config": {"url": f"https://example.org/{{{{ {shown}.id }}}}", "number": index},
                "depends_on": sources,
                "when": f"size({shown}) > 0",
            }
        )
    return {"name": "large", "nodes": nodes}


def timed(label: str, call: Callable[[], Any]) -> Any:
    """Print the best of three."""
    times: list[float] = []
    result: Any = None
    for _ in range(3):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    print(f"{label:<58}{min(times) * 1000:9.1f} ms")
    return result


def main() -> None:
    """Print all timings."""
    for label, own in (
        ("10,000 nodes, equal expressions", False),
        ("10,000 nodes, 20,000 different uses", True),
    ):
        text = json.dumps(layered_document(10_000, 500, own_expressions=own))
        print(f"-- {label}, {len(text) / 2**20:.1f} MiB of JSON")
        spec: DagSpec = timed("read and parse", lambda text=text: load_json(text))
        timed("write", lambda spec=spec: dump_json(spec))
        timed("hash (a fresh copy)", lambda spec=spec: spec.model_copy().content_hash)
        timed("order and ancestors", lambda spec=spec: Graph.of(spec).is_ancestor("n0", "n9999"))
        findings = timed("check", lambda spec=spec: validate(spec.model_copy(), catalogue=CATALOGUE))
        assert not findings, findings[:3]
    spec = DagSpec.model_validate(layered_document(2_000, 50, own_expressions=False))
    graph = of_spec(spec)
    print("-- 2,000 nodes, 5,700 edges")
    timed("layout", lambda: layered(graph))
    timed("layout and SVG", lambda: to_svg(graph))


if __name__ == "__main__":
    main()
