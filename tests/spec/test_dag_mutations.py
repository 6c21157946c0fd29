"""Any document, however it was changed, is refused with findings or means one thing; there is never a traceback."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidInput
from holdfast.spec.diagram import of_spec, to_mermaid, to_svg, to_text
from holdfast.spec.document import dump_json, dump_yaml, load_json, load_value, load_yaml
from holdfast.spec.finding import CODES
from holdfast.spec.graph import Graph
from holdfast.spec.validate import validate

from .mutations import RICH, mutated_documents


@settings(deadline=None, max_examples=100)
@given(mutated_documents())
def test_a_mutated_document_is_refused_with_findings_or_means_one_thing(document: Any) -> None:
    before = copy.deepcopy(document)
    try:
        spec = load_value(document)
    except InvalidInput as error:
        refused = error.details["findings"]
    else:
        refused = None
    assert json.dumps(document) == json.dumps(before)
    if refused is not None:
        assert "HF-D001" in {found["code"] for found in refused} <= CODES.keys()
        assert all(found["message"] and found["fix"] and "\\x00" not in repr(found) for found in refused)
        return
    findings = validate(spec)
    assert {found.code for found in findings} <= CODES.keys()
    assert all(found.message and found.fix for found in findings)
    assert load_json(dump_json(spec)) == spec
    assert load_yaml(dump_yaml(spec)) == spec
    assert load_value(spec.document(complete=True)).document(complete=True) == spec.document(complete=True)
    if not any(found.severity == "error" for found in findings):
        graph = Graph.of(spec)
        assert len(graph.order) == len(graph.ids)
        for draw in (to_text, to_mermaid, to_svg):
            assert draw(of_spec(spec))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damaged_text_is_refused_or_read(data: st.DataObject) -> None:
    read, text = data.draw(
        st.sampled_from([(load_json, json.dumps(RICH)), (load_yaml, dump_yaml(load_value(RICH)))])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        cut = data.draw(st.integers(0, 4))
        put = data.draw(st.text('{}[]:,"\\- \n\t&*!|>0\ud800\x00é', max_size=3))
        text = text[:at] + put + text[at + cut :]
    try:
        spec = read(text)
    except InvalidInput:
        return
    validate(spec)


def test_the_rich_document_is_right() -> None:
    assert validate(load_value(RICH)) == []
