"""`convert`: formats to values and back, whatever the text holds."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import InvalidInput, PayloadTooLarge
from holdfast.testing import ContractCheck, ExecutorCase, executor_contract
from holdfast_executors.convert import Convert
from holdfast_executors.convert_html import html_to_text
from holdfast_executors.convert_xml import read_xml, write_xml

ROWS = [{"name": "ada", "say": 'a "b", c\nd'}, {"name": "bob", "say": ""}]
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>'

CHECKS = executor_contract(
    Convert,
    good=[
        {"read": "json", "data": '{"a": [1, null]}'},
        ExecutorCase({"read": "csv"}, "a,b\r\n1,2\r\n"),
        ExecutorCase({"write": "csv", "delimiter": ";"}, ROWS),
        {"read": "xml", "data": "<a b='1'><c/>t</a>"},
        {"read": "base64", "write": "json", "data": "YQ=="},
        {"read": "html", "data": "<p>key {{ secrets.KEY }}</p>"},
    ],
    bad=[
        {},
        {"read": "yaml", "data": "a: 1"},
        {"read": "json", "data": {"a": 1}},
        {"read": "json", "data": '{"a": NaN}'},
        {"read": "json", "data": '{"a": 1, "a": 2}'},
        {"read": "json", "data": "[" * 100_000},
        {"read": "json", "header": False, "data": "1"},
        {"read": "csv", "delimiter": "--", "data": "a"},
        {"read": "csv", "spreadsheet": True, "data": "a"},
        {"read": "csv", "data": 'a,b\n1,"2'},
        {"read": "csv", "data": "a,a\n1,2"},
        {"read": "csv", "data": "a,\n1,2"},
        {"read": "csv", "data": "a,b\n1,2,3"},
        {"write": "csv", "data": {"a": 1}},
        {"write": "csv", "data": [[1], {"a": 1}]},
        {"write": "csv", "data": [{}]},
        {"write": "csv", "data": [[[1]]]},
        {"read": "xml", "data": BOMB},
        {"read": "xml", "data": OUTSIDE},
        {"read": "xml", "data": "<a><b></a>"},
        {"read": "xml", "data": "<a>" * 1000 + "</a>" * 1000},
        {"write": "xml", "data": {"a": 1, "b": 2}},
        {"write": "xml", "data": {"a": [1, 2]}},
        {"write": "xml", "data": {"a><b": 1}},
        {"write": "xml", "data": {"a": "\x00"}},
        {"read": "base64", "data": "a"},
        {"read": "base64", "data": base64.b64encode(b"\xff").decode()},
    ],
    secrets={"KEY": "s3cr3t-value"},
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_keeps_the_contract(check: ContractCheck) -> None:
    check()


@pytest.mark.parametrize(
    ("config", "data", "output"),
    [
        ({"read": "json"}, ' {"a": 1.5} ', {"a": 1.5}),
        ({"write": "json"}, {"ü": [1, None]}, '{"ü":[1,null]}'),
        ({"read": "csv"}, '\ufeffa,b\r\n1,"x\ny"\r\n\r\n', [{"a": "1", "b": "x\ny"}]),
        ({"read": "csv"}, "", []),
        ({"read": "csv", "header": False, "delimiter": ";"}, "a;b\n1;2,3", [["a", "b"], ["1", "2,3"]]),
        ({"write": "csv"}, [{"a": 1, "b": None}, {"c": True}], "a,b,c\r\n1,,\r\n,,true\r\n"),
        ({"write": "csv", "header": False}, [{"a": 1}], "1\r\n"),
        ({"write": "csv", "spreadsheet": True}, [["=1+1", "-5", -5, "x"]], "'=1+1,'-5,-5,x\r\n"),
        ({"read": "csv", "write": "json"}, "a\n1", '[{"a":"1"}]'),
        ({"write": "base64"}, "ä", "w6Q="),
        ({"read": "base64"}, "w6\nQ=", "ä"),
        ({"write": "text"}, [1], "[1]"),
        ({"read": "text"}, "plain", "plain"),
        ({"read": "html", "write": "base64"}, "<b>a</b>", "YQ=="),
    ],
)
async def test_what_it_gives(config: dict[str, Any], data: object, output: object) -> None:
    assert await Convert.call(config, input=data) == output


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<a/>", {"a": ""}),
        ("<?xml version='1.0' encoding='latin-1'?>\n<a>ä</a>", {"a": "ä"}),
        ('<a id="1">x</a>', {"a": {"@id": "1", "#text": "x"}}),
        ("<a>\n  <b>1</b>\n  <b>2</b>\n  <b>3</b><c/>\n</a>", {"a": {"b": ["1", "2", "3"], "c": ""}}),
        ("<a><![CDATA[<&>]]> &lt;</a>", {"a": "<&> <"}),
        ('<n:a xmlns:n="urn:n"><n:b/></n:a>', {"n:a": {"@xmlns:n": "urn:n", "n:b": ""}}),
    ],
)
def test_xml_is_read_as_elements_attributes_and_text(text: str, value: object) -> None:
    assert read_xml(text) == value


def test_an_error_in_xml_names_the_line_also_after_a_declaration() -> None:
    with pytest.raises(InvalidInput, match="line 3, column 6 is no XML: mismatched tag"):
        read_xml("<?xml\nversion='1.0'?>\n<a></b>")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<h1>A &amp; B</h1><p>one\n two</p><p>three<br>four", "A & B\n\none two\n\nthree\nfour"),
        ("<ul><li>x<li>y</li><li>z</li></ul>", "- x\n- y\n- z"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1 2\n3"),
        ("<table><tr><td>1<td>2<tr><th>3<td>4</table>", "1 2\n3 4"),
        ("a<script>if (1 < 2) x = '</p>'</script>b<STYLE>c</sTyLe >d", "abd"),
        ("a<!-- > --> b <!doctype x> c <? d ?> e </> f", "a b c e f"),
        ('<a title="1 > 0" href=\'"\'>link</a>', "link"),
        ("1 < 2 &lt; 3 &nosuch; &#x41;&#66;", "1 < 2 < 3 &nosuch; AB"),
        ("<a b='>x <i>y</i>", "x y"),
        ("<script>never closed", ""),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
    ],
)
def test_html_becomes_what_a_reader_sees(source: str, text: str) -> None:
    assert html_to_text(source) == text


FEW = settings(max_examples=60, deadline=None)

HOSTILE = [
    "<",
    "<a ",
    "<a b='",
    '<a b=">" ',
    "<!--",
    "<!",
    "</",
    "</a ",
    "<script>",
    "<script></scrip ",
    "&",
    "&#x",
    "<p>",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_html_of_two_megabytes_ends_whatever_it_holds(piece: str) -> None:
    # Anything but linear work would take hours here.
    assert len(html_to_text(piece * (2 * 1024**2 // len(piece)))) <= 2 * 1024**2


@FEW
@given(st.text(alphabet="<>/!-'\" aAbp&#;x=\n", max_size=60))
def test_no_tag_survives_and_text_without_markup_stays(source: str) -> None:
    assert isinstance(html_to_text(source), str)
    plain = "".join(char for char in source if char not in "<&")
    assert html_to_text(plain) == " ".join(plain.split(None))


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@FEW
@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=5), delimiter=st.sampled_from(",;\t|"))
async def test_csv_of_lists_is_read_as_it_was_written(rows: list[list[str]], delimiter: str) -> None:
    config = {"header": False, "delimiter": delimiter}
    text = await Convert.call({"write": "csv", **config}, input=rows)
    assert await Convert.call({"read": "csv", **config}, input=text) == rows


NAMES = st.lists(
    CELLS.filter(lambda name: bool(name) and name[0] != "\ufeff"), min_size=1, max_size=4, unique=True
)


@FEW
@given(data=st.data(), names=NAMES)
async def test_csv_of_objects_is_read_as_it_was_written(data: st.DataObject, names: list[str]) -> None:
    row = st.fixed_dictionaries(dict.fromkeys(names, CELLS))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    text = await Convert.call({"write": "csv"}, input=rows)
    assert await Convert.call({"read": "csv"}, input=text) == rows


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | CELLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELLS, inner, max_size=3),
    max_leaves=10,
)


@FEW
@given(value=VALUES)
async def test_json_and_base64_are_read_as_they_were_written(value: Any) -> None:
    text = await Convert.call({"write": "base64"}, input=json.dumps(value))
    assert await Convert.call({"read": "base64", "write": "text"}, input=text) == json.dumps(value)
    text = await Convert.call({"write": "json"}, input=value)
    assert await Convert.call({"read": "json"}, input=text) == value


XML_NAMES = st.sampled_from(["a", "b", "c-d", "n:e", "é", "_f.1"])
XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)
XML_TEXTS = XML_TEXT | st.sampled_from(["\r\n", "\t", " a\n", "]]>", "<&>'\""])


def element(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(
        XML_NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=3
    )
    attributes = st.dictionaries(XML_NAMES.map(lambda name: f"@{name}"), XML_TEXTS, max_size=2)
    text = st.fixed_dictionaries({}, optional={"#text": XML_TEXTS.filter(lambda text: bool(text.strip()))})
    return st.builds(
        lambda *parts: {key: value for part in parts for key, value in part.items()},
        attributes,
        members,
        text,
    )


@FEW
@given(value=st.recursive(XML_TEXTS, element, max_leaves=8), name=XML_NAMES)
def test_xml_is_read_as_it_was_written(value: Any, name: str) -> None:
    assert read_xml(write_xml({name: value})) == {name: value}


def test_a_csv_whose_rows_repeat_long_names_is_refused_before_it_fills_the_memory() -> None:
    from holdfast_executors.convert_csv import read_csv

    names = ",".join(f"{index:0>1000}" for index in range(1000))
    with pytest.raises(PayloadTooLarge, match="more than 50 MiB at line 44"):
        read_csv(f"{names}\n" + f"{',' * 999}\n" * 9000, header=True, delimiter=",")


@pytest.mark.parametrize(
    ("read", "before", "row", "after"),
    [
        ("csv", "", f"{'x' * 98}\r\n", ""),
        ("csv", "", 'a,"b",c\n', ""),
        ("xml", "<x>", f"<a>{'x' * 93}</a>", "</x>"),
        ("json", "[", f'"{"x" * 97}",', "0]"),
        ("base64", "", "eHh4eHh4", ""),
        ("html", "", f"<p>{'x' * 97}", ""),
    ],
)
async def test_ten_megabytes_of_each_format_are_read(read: str, before: str, row: str, after: str) -> None:
    text = before + row * (10 * 1024**2 // len(row)) + after
    found = await Convert.call({"read": read}, input=text)
    assert len(str(found)) > 6 * 1024**2


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"read": "json", "data": {"a": 1}}, "got an object"),
        ({"write": "csv", "data": [{"a": {"b": 1}}]}, "a field of CSV cannot hold an object"),
        ({"write": "csv", "data": [[[1]]]}, "a field of CSV cannot hold a list"),
    ],
)
async def test_values_are_told_in_the_words_of_json(config: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        await Convert.call(config)
