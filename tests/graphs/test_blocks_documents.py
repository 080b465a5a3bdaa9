from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.blocks.base import BlockError
from graphs.blocks.sampling import Method
from tests.graphs.running import values


@pytest.mark.parametrize(
    ("xml", "parsed"),
    [
        ("<a/>", {"a": ""}),
        ("<A>  text </A>", {"a": "text"}),
        ("<a><b>1</b>stray<c>2</c></a>", {"a": {"b": "1", "c": "2", "#text": "stray"}}),
        ("<a>&lt;&amp;&#233;</a>", {"a": "<&é"}),
        ("<a><![CDATA[<b>]]></a>", {"a": "<b>"}),
        ('<a id="7"/>', {"a": {"@id": "7"}}),
        ("<a><b/><b/></a>", {"a": [{"b": ""}, {"b": ""}]}),
        ("<?xml version='1.0'?><!-- c --><a><!-- d -->x</a>", {"a": "x"}),
    ],
)
async def test_xml_becomes_dictionaries(xml: str, parsed: dict[str, Any]):
    assert await values("XMLParserBlock", {"input_xml": xml}) == [("parsed_xml", parsed)]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "input_xml is not XML: no element found"),
        ("text", "input_xml is not XML: syntax error"),
        ("<a></b>", "input_xml is not XML: mismatched tag"),
        ("<a/><b/>", "input_xml is not XML: junk after document element"),
        ("<a>\ud800</a>", "input_xml is not XML: not well-formed"),
        ("<a>" * 101 + "</a>" * 101, "the XML is nested deeper than 100 levels"),
        ("<!DOCTYPE a><a/>", "XML with a document type is not read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "XML with a document type is not read"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "XML with a document type is not read"),
        ("<a>" + "x" * 10_000_000 + "</a>", "input_xml has 10000007 characters; the limit is 10000000"),
    ],
)
async def test_what_is_no_harmless_xml_is_refused(xml: str, message: str):
    with pytest.raises(BlockError) as refusal:
        await values("XMLParserBlock", {"input_xml": xml})
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ({"contents": "a,b\n1"}, [{"a": "1"}]),
        ({"contents": "a,b\n\n1,2\n"}, [{"a": "1", "b": "2"}]),
        ({"contents": "a,b\n1,2\n3,4", "skip_columns": ["a"]}, [{"b": "2"}, {"b": "4"}]),
        ({"contents": "1,2", "has_header": False, "skip_columns": ["1"]}, [{"0": "1"}]),
        ({"contents": "a\n x ", "strip": False}, [{"a": " x "}]),
        ({"contents": "a\n1\\,2"}, [{"a": "1,2"}]),
        ({"contents": "a"}, []),
        ({"file_input": "data:text/csv;base64,77u/YQox"}, [{"a": "1"}]),
    ],
)
async def test_csv_becomes_rows(data: dict[str, Any], rows: list[Any]):
    assert await values("ReadSpreadsheetBlock", data) == [("rows", rows)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "there is no CSV in contents or file_input"),
        ({"contents": " \n"}, "there is no CSV in contents or file_input"),
        ({"contents": "a\n1\n1,2"}, "line 3 has 2 values, but the header has 1 names"),
        ({"contents": "a\n" + "x" * 200_000}, "line 2 is not CSV: field larger than field limit"),
        ({"file_input": "data:image/png;base64,iVBORw=="}, "file_input is no UTF-8 text but image/png"),
        ({"file_input": "notes.csv"}, "a data URI looks like"),
        ({"contents": "a", "delimiter": ";;"}, "'delimiter': string should have at most 1 character"),
    ],
)
async def test_what_is_no_csv_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(BlockError) as refusal:
        await values("ReadSpreadsheetBlock", data)
    assert message in str(refusal.value)


@given(
    size=st.integers(0, 30),
    wanted=st.integers(0, 30),
    method=st.sampled_from(Method),
    groups=st.integers(1, 5),
    seed=st.integers(),
)
async def test_a_sample_has_the_size_asked_for_and_its_items_are_at_its_places(size, wanted, method, groups, seed):
    data = [{"id": number, "group": number % groups, "weight": number + 1} for number in range(size)]
    given = {
        "data": data,
        "sample_size": min(wanted, size),
        "sampling_method": method,
        "random_seed": seed,
        "stratify_key": "group",
        "weight_key": "weight",
        "cluster_key": "group",
    }
    if method is Method.WEIGHTED and not size:
        return

    (_, sample), (_, places) = emitted = await values("DataSamplingBlock", given)

    assert sample == [data[place] for place in places]
    assert len(sample) == min(wanted, size)
    assert method is Method.WEIGHTED or len(set(places)) == len(places)
    assert await values("DataSamplingBlock", given) == emitted


async def test_a_stratified_sample_has_each_group_by_its_share():
    data = [{"team": team} for team in "aaaaaabbbc"]
    sample = {"data": data, "sample_size": 5, "sampling_method": "stratified", "stratify_key": "team"}

    (_, chosen), _ = await values("DataSamplingBlock", sample)

    counted = Counter(item["team"] for item in chosen)
    assert counted["a"] == 3
    assert counted["b"] + counted["c"] == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"data": [[1]], "sample_size": 2}, "sample_size is 2, but there are only 1 items"),
        ({"data": [[1]], "sample_size": 1, "accumulate": True}, "accumulate must be off"),
        ({"data": [{}], "sample_size": 1, "sampling_method": "cluster"}, "this sampling_method needs cluster_key"),
        (
            {"data": [{}], "sample_size": 1, "sampling_method": "stratified", "stratify_key": "t"},
            "stratify_key: an item has no 't'",
        ),
        (
            {"data": [{"w": -1}], "sample_size": 1, "sampling_method": "weighted", "weight_key": "w"},
            "the weights must be numbers of 0 or more, and not all 0",
        ),
        (
            {"data": [{"w": 0}], "sample_size": 1, "sampling_method": "weighted", "weight_key": "w"},
            "the weights must be numbers of 0 or more, and not all 0",
        ),
    ],
)
async def test_a_sample_that_cannot_be_taken_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(BlockError) as refusal:
        await values("DataSamplingBlock", data)
    assert message in str(refusal.value)
