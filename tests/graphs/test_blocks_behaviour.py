from datetime import date
from math import inf
from typing import Any
from uuid import UUID

import pytest

from core import http
from graphs.blocks.base import AskForReview, BadInput, BlockError, CallGraph, ChildResult, Decision, Sleep, TryLater
from tests.graphs.running import KEY, run, values
from tests.web import Answer, Request, a_server

CHILD = UUID("01980000-0000-7000-8000-0000000000bb")
GRAPH = "01980000-0000-7000-8000-0000000000cc"
AGENT: dict[str, Any] = {
    "graph_id": GRAPH,
    "graph_version": 3,
    "user_id": "somebody",
    "input_schema": {"properties": {"who": {}}},
    "output_schema": {"properties": {}},
}


@pytest.mark.parametrize(
    ("block", "data", "expected"),
    [
        ("AgentInputBlock", {"name": "x", "value": None}, []),
        ("AgentInputBlock", {"name": "x", "value": ""}, [("result", "")]),
        ("AgentInputBlock", {"name": "x", "value": False}, [("result", False)]),
        ("AgentNumberInputBlock", {"name": "x", "value": 0}, [("result", 0)]),
        ("AgentNumberInputBlock", {"name": "x", "value": -3.9}, [("result", -3)]),
        ("AgentToggleInputBlock", {"name": "x", "value": "false"}, [("result", False)]),
        ("AgentDateInputBlock", {"name": "x", "value": "2026-02-28"}, [("result", date(2026, 2, 28))]),
        ("AgentFileInputBlock", {"name": "x", "value": "https://a.b/c"}, [("result", "https://a.b/c")]),
        ("AgentTableInputBlock", {"name": "x", "value": '[{"a": 1}]'}, [("result", [{"a": 1}])]),
        ("AgentOutputBlock", {"name": "x", "value": None}, [("output", None), ("name", "x")]),
        (
            "AgentOutputBlock",
            {"name": "x", "value": 1, "format": "{% bad %}"},
            [("output", "Error: template: line 1: Encountered unknown tag 'bad'.")],
        ),
        (
            "AgentOutputBlock",
            {"name": "x", "value": "<", "format": "{{ x }}", "escape_html": True},
            [("output", "&lt;")],
        ),
        ("StoreValueBlock", {"input": 1, "data": 0}, [("output", 1)]),
        ("StoreValueBlock", {"input": 1, "data": []}, [("output", 1)]),
        ("ConditionBlock", {"value1": " 1 ", "operator": "==", "value2": "1.0"}, [("result", True), ("yes_output", 1)]),
        (
            "ConditionBlock",
            {"value1": 1, "operator": "<", "value2": 0, "no_value": False},
            [("result", False), ("no_output", False)],
        ),
        ("ConditionBlock", {"value1": 1, "operator": ">", "value2": 2}, [("result", False), ("no_output", 2)]),
        (
            "ConditionBlock",
            {"value1": "nan", "operator": "==", "value2": "nan"},
            [("result", True), ("yes_output", "nan")],
        ),
        ("ConditionBlock", {"value1": [1], "operator": "!=", "value2": "1"}, [("result", True), ("yes_output", [1])]),
        ("IfInputMatchesBlock", {"input": 5, "value": "five"}, [("result", False), ("no_output", None)]),
        ("IfInputMatchesBlock", {"input": [1], "value": "[1]"}, [("result", True), ("yes_output", None)]),
        ("StepThroughItemsBlock", {}, []),
        (
            "StepThroughItemsBlock",
            {"items": [None], "items_object": {"a": 0}, "items_str": '{"b": ""}'},
            [("item", None), ("key", 0), ("item", 0), ("key", "a"), ("item", ""), ("key", "b")],
        ),
        ("CalculatorBlock", {"operation": "Power", "a": "2", "b": "10"}, [("result", 1024.0)]),
        ("CalculatorBlock", {"operation": "Subtract", "a": 1, "b": [1, 2, 3]}, [("result", -2.0)]),
        (
            "CreateListBlock",
            {"values": ["a" * 10, "b", "c"], "max_tokens": 2},
            [("list", ["a" * 10]), ("list", ["b", "c"])],
        ),
        ("CreateListBlock", {"values": [None]}, [("list", [None])]),
        ("AddToListBlock", {"list": [1], "entry": ""}, [("updated_list", [1, ""])]),
        ("AddToListBlock", {"list": [1], "entry": False}, [("updated_list", [1, False])]),
        ("AddToListBlock", {"list": [1, 2], "entry": 9, "position": -1}, [("updated_list", [1, 9, 2])]),
        ("AddToListBlock", {"list": [1, 2], "entry": 9, "position": 99}, [("updated_list", [1, 2, 9])]),
        ("AddToListBlock", {"entry": [1]}, [("updated_list", [[1]])]),
        ("AddToDictionaryBlock", {"key": "a", "value": None}, [("updated_dictionary", {})]),
        ("AddToDictionaryBlock", {"key": "", "value": 1}, [("updated_dictionary", {})]),
        ("AddToDictionaryBlock", {"key": "a", "value": False}, [("updated_dictionary", {"a": False})]),
        ("FindInDictionaryBlock", {"input": {"a": None}, "key": "a"}, [("output", None)]),
        ("FindInDictionaryBlock", {"input": {"1": "x"}, "key": 1}, [("output", "x")]),
        ("FindInDictionaryBlock", {"input": {"a": 1}, "key": "values"}, [("missing", {"a": 1})]),
        ("FindInDictionaryBlock", {"input": {"a": 1}, "key": "__class__"}, [("missing", {"a": 1})]),
        ("FindInDictionaryBlock", {"input": [1, 2], "key": -1}, [("missing", [1, 2])]),
        ("FindInDictionaryBlock", {"input": [1, 2], "key": 2}, [("missing", [1, 2])]),
        ("FindInDictionaryBlock", {"input": [], "key": "a"}, [("output", [])]),
        ("FindInDictionaryBlock", {"input": [{"a": 1}, {"b": 2}, 3], "key": "a"}, [("output", [1])]),
        ("FindInDictionaryBlock", {"input": [{"b": 2}, {"a": 1}], "key": "a"}, [("missing", [{"b": 2}, {"a": 1}])]),
        ("FindInDictionaryBlock", {"input": "[1]", "key": 5}, [("missing", "[1]")]),
        ("RemoveFromListBlock", {"list": [1, 2, 1], "value": 1}, [("updated_list", [2, 1])]),
        ("RemoveFromListBlock", {"list": [1, 2], "value": 1, "index": 1}, [("updated_list", [1])]),
        ("UniversalTypeConverterBlock", {"value": {"a": 1}, "type": "number"}, [("value", 1.0)]),
        ("CombineTextsBlock", {"input": []}, [("output", "")]),
        ("TextSplitBlock", {"text": "a, b", "delimiter": ",", "strip": False}, [("texts", ["a", " b"])]),
        ("TextDecoderBlock", {"text": r"a\\n \q \x41"}, [("decoded_text", r"a\n \q A")]),
        ("CodeExtractionBlock", {"text": "```\nplain\n```"}, [("remaining_text", "```\nplain\n```")]),
        ("CodeExtractionBlock", {"text": "```js\nopen"}, [("remaining_text", "```js\nopen")]),
        ("CountdownTimerBlock", {"repeat": 0, "seconds": 1}, []),
    ],
)
async def test_a_block_emits(block: str, data: dict[str, Any], expected: list[Any]):
    assert await values(block, data) == expected


@pytest.mark.parametrize(
    ("block", "data", "message"),
    [
        ("AgentFileInputBlock", {"name": "x", "value": "https://a.b/c", "base_64": True}, "base_64 needs the file as"),
        ("CalculatorBlock", {"operation": "Divide", "a": 1, "b": 0}, "division by zero"),
        ("CalculatorBlock", {"operation": "Power", "a": 0, "b": -1}, "division by zero"),
        ("CalculatorBlock", {"operation": "Power", "a": 10, "b": 999}, "the result is too large"),
        (
            "CalculatorBlock",
            {"operation": "Power", "a": -1, "b": 0.5},
            "Power of -1.0 and 0.5 has no finite real result",
        ),
        ("CalculatorBlock", {"operation": "Multiply", "a": 1e308, "b": 10}, "has no finite real result"),
        ("ConditionBlock", {"value1": "a", "operator": "<", "value2": 1}, "cannot be compared with <: str and int"),
        ("StepThroughItemsBlock", {"items": [0] * 10_001}, "There are 10001 items; the limit is 10000"),
        ("StepThroughItemsBlock", {"items_str": " " * 1_000_001}, "items_str has 1000001 characters; the limit is"),
        ("StepThroughItemsBlock", {"items_str": "{"}, "items_str is not JSON"),
        ("StepThroughItemsBlock", {"items_str": "5"}, "items_str must hold a JSON list or object"),
        ("FindInDictionaryBlock", {"input": "{", "key": "a"}, "the input is a text but not JSON"),
        ("GetListItemBlock", {"list": [1], "index": -2}, "index -2 is outside of the list, which has 1 items"),
        ("ReplaceListItemBlock", {"list": [], "index": 0, "value": 1}, "index 0 is outside of the list"),
        ("RemoveFromListBlock", {"list": [1], "value": 2}, "the value is not in the list"),
        ("RemoveFromListBlock", {"list": [1]}, "give an index or a value to remove"),
        ("RemoveFromDictionaryBlock", {"dictionary": {}, "key": "a"}, "the dictionary has no key 'a'"),
        ("ReplaceDictionaryValueBlock", {"dictionary": {}, "key": "a", "value": 1}, "the dictionary has no key 'a'"),
        ("ConcatenateListsBlock", {"lists": [[1], "x"]}, "item 1 of lists is no list but str"),
        ("TextReplaceBlock", {"text": "a" * 10_000, "old": "", "new": "b" * 10_000}, "the limit is 10000000"),
        ("CombineTextsBlock", {"input": ["", ""] * 5000, "delimiter": "b" * 10_000}, "the limit is 10000000"),
        ("TextDecoderBlock", {"text": r"\ud800"}, r"\ud800 is half a character, which cannot be stored"),
        ("TextDecoderBlock", {"text": r"\UFFFFFFFF"}, r"\UFFFFFFFF stands for no character"),
        ("UniversalTypeConverterBlock", {"value": "many", "type": "number"}, "a number is needed, not 'many'"),
        ("UniversalTypeConverterBlock", {"value": None, "type": "list"}, "null cannot be converted to a list"),
        ("CountdownTimerBlock", {"seconds": "soon"}, "seconds must be a number, not 'soon'"),
        ("CountdownTimerBlock", {"hours": -1}, "hours must be a number of 0 or more, not -1"),
        ("CountdownTimerBlock", {"seconds": "nan"}, "seconds must be a number of 0 or more, not 'nan'"),
        ("CountdownTimerBlock", {"days": 4000}, "the wait is longer than ten years"),
        ("GetCurrentDateBlock", {"trigger": "", "offset": "soon"}, "offset must be a whole number of days"),
        ("GetCurrentDateBlock", {"trigger": "", "offset": 10**9}, "offset must be a whole number of days"),
        ("GetCurrentTimeBlock", {"trigger": "", "format_type": {"timezone": "../x"}}, "timezone must be an IANA name"),
        ("FillTextTemplateBlock", {"values": {}, "format": "{{"}, "template: line 1: "),
        ("SendWebRequestBlock", {"url": "http://169.254.169.254/latest"}, "169.254.169.254:80 may not be reached"),
        ("SendWebRequestBlock", {"url": "file:///etc/passwd"}, "This is no http or https address"),
        ("SendWebRequestBlock", {"url": "http://a.b/", "files": ["data:,x"]}, "switch json_format off"),
        (
            "SendWebRequestBlock",
            {"url": "http://a.b/", "files": ["data:;base64,???"], "json_format": False},
            "the data URI's base64 is malformed",
        ),
    ],
)
async def test_a_block_refuses(block: str, data: dict[str, Any], message: str):
    with pytest.raises(BlockError) as refusal:
        await values(block, data)
    assert message in str(refusal.value)
    await http.close()


@pytest.mark.parametrize(
    ("block", "data", "pin"),
    [
        ("AgentInputBlock", {"value": 1}, "name"),
        ("AgentNumberInputBlock", {"name": "x", "value": "many"}, "value"),
        ("AgentFileInputBlock", {"name": "x", "value": "/etc/passwd"}, "value"),
        ("CalculatorBlock", {"operation": "Modulo", "a": 1, "b": 1}, "operation"),
        ("ConditionBlock", {"value1": 1, "operator": "is", "value2": 1}, "operator"),
        ("CreateListBlock", {"values": [], "max_size": 0}, "max_size"),
        ("CountdownTimerBlock", {"repeat": 10_001}, "repeat"),
        ("TextSplitBlock", {"text": "a", "delimiter": ""}, "delimiter"),
        ("GetListItemBlock", {"list": [1], "index": "first"}, "index"),
        ("AgentExecutorBlock", {**AGENT, "graph_id": "none"}, "graph_id"),
        ("SendWebRequestBlock", {"url": "http://a.b/", "method": "BREW"}, "method"),
    ],
)
async def test_a_value_that_a_block_cannot_use_is_refused_by_the_name_of_its_pin(block: str, data: Any, pin: str):
    with pytest.raises(BadInput) as refusal:
        await values(block, data)
    assert str(refusal.value).startswith(f"Input of {block}: '{pin}': ")


async def test_lists_and_dictionaries_that_come_in_are_never_changed():
    items, entries, inside = [1, 2], {"a": 1}, {"list": [1]}
    await values("AddToListBlock", {"list": items, "entry": 3})
    await values("RemoveFromListBlock", {"list": items, "index": 0})
    await values("ReplaceListItemBlock", {"list": items, "index": 0, "value": 9})
    await values("ConcatenateListsBlock", {"lists": [items, items]})
    await values("AddToDictionaryBlock", {"dictionary": entries, "key": "b", "value": 1})
    await values("RemoveFromDictionaryBlock", {"dictionary": entries, "key": "a"})
    await values("ReplaceDictionaryValueBlock", {"dictionary": entries, "key": "a", "value": 2})
    await values("FillTextTemplateBlock", {"values": inside, "format": "{{ list }}"})

    assert (items, entries, inside) == ([1, 2], {"a": 1}, {"list": [1]})


async def test_a_timer_sleeps_before_each_message():
    data = {"input_message": "tick", "minutes": "1.5", "seconds": 10, "repeat": 2}

    assert await run("CountdownTimerBlock", data, [None, None]) == [
        Sleep(100.0),
        ("output_message", "tick"),
        Sleep(100.0),
        ("output_message", "tick"),
    ]


async def test_the_time_is_told_in_the_zone_of_whoever_runs_the_graph():
    data = {"trigger": "", "format_type": {"use_user_timezone": True, "format": "%Z"}}

    assert await run("GetCurrentTimeBlock", data, time_zone="Asia/Tokyo") == [("time", "JST")]


async def test_an_agent_is_called_with_the_stored_inputs_and_those_that_arrived():
    data = {**AGENT, "inputs": {"who": "nobody", "mark": "!"}, "who": "World", "stranger": 1, "who_#_x": 2}
    data["nodes_input_masks"] = {"node": {"value": 1}}

    assert await run("AgentExecutorBlock", data) == [
        CallGraph(UUID(GRAPH), 3, {"who": "World", "mark": "!"}, {"node": {"value": 1}})
    ]


async def test_an_agents_outputs_are_emitted_in_their_order_with_repetitions_and_nulls():
    outputs = (("b", 1), ("a", None), ("b", 2))

    assert await values("AgentExecutorBlock", AGENT, [ChildResult(CHILD, "COMPLETED", outputs)]) == list(outputs)


@pytest.mark.parametrize(("status", "error"), [("FAILED", "out of credits"), ("TERMINATED", "")])
async def test_an_agent_that_did_not_complete_is_an_error_that_names_its_run(status: str, error: str):
    with pytest.raises(BlockError) as failure:
        await values("AgentExecutorBlock", AGENT, [ChildResult(CHILD, status, (("a", 1),), error)])
    reason = f": {error}" if error else ""
    assert str(failure.value) == f"The run {CHILD} of the graph {GRAPH} ended as {status}{reason}"


ANSWERS = {
    "/json": Answer(200, {"content-type": "application/json; charset=utf-8"}, b'{"a": [1]}'),
    "/problem": Answer(422, {"content-type": "application/problem+json"}, b'{"title": "no"}'),
    "/text": Answer(200, {"content-type": "text/plain; charset=latin-1"}, b"caf\xe9"),
    "/image": Answer(200, {"content-type": "image/png"}, b"\x89PNG\0"),
    "/unnamed": Answer(201, {}, b"\xff\0"),
    "/empty": Answer(204),
    "/broken": Answer(503, {"content-type": "text/plain"}, b"later"),
    "/busy": Answer(429, {"retry-after": "7"}, b"wait"),
    "/closed": Answer(503, {"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    "/opened": Answer(503, {"retry-after": "Fri, 01 Jan 2010 00:00:00 GMT"}),
    "/lost": Answer(502, {"retry-after": "soon"}),
    "/odd": Answer(304),
    "/lies": Answer(200, {"content-type": "application/json"}, b"<html>"),
}


@pytest.fixture
async def site(settings: Any) -> Any:
    """A web site, reachable for the length of a test."""
    async with a_server(lambda request: ANSWERS[request.path]) as server:
        settings.HTTP_ALLOW_PRIVATE = server.allowed
        yield server
        await http.close()


@pytest.mark.parametrize(
    ("path", "emitted"),
    [
        ("/json", ("response", {"a": [1]})),
        ("/problem", ("client_error", {"title": "no"})),
        ("/text", ("response", "café")),
        ("/image", ("response", "data:image/png;base64,iVBORwA=")),
        ("/unnamed", ("response", "data:application/octet-stream;base64,/wA=")),
        ("/empty", ("response", None)),
        ("/broken", ("server_error", "later")),
        ("/odd", ("server_error", None)),
    ],
)
async def test_an_answer_is_emitted_on_the_pin_of_its_status(site: Any, path: str, emitted: Any):
    assert await values("SendWebRequestBlock", {"url": site.origin + path, "method": "GET"}) == [emitted]


@pytest.mark.parametrize(
    ("path", "least", "most"),
    [("/busy", 7, 7), ("/closed", 86_400, inf), ("/opened", 0, 0), ("/lost", 0, 0), ("/broken", 0, 0)],
)
async def test_a_busy_server_is_asked_again_when_it_says_where_an_attempt_is_left(
    site: Any, path: str, least: float, most: float
):
    with pytest.raises(TryLater) as refusal:
        await run("SendWebRequestBlock", {"url": site.origin + path, "method": "GET"}, attempts_left=1)
    assert least <= refusal.value.seconds <= most


async def test_a_busy_server_that_is_not_asked_again_is_an_answer(site: Any):
    given = await values("SendWebRequestBlock", {"url": site.origin + "/busy", "method": "GET"})
    assert given == [("client_error", "wait")]


async def test_an_answer_that_is_not_the_json_it_says_is_an_error(site: Any):
    with pytest.raises(BlockError) as failure:
        await values("SendWebRequestBlock", {"url": site.origin + "/lies", "method": "GET"})
    assert str(failure.value).startswith("the answer, status 200, says it is JSON but is not: ")


def _sent(request: Request) -> tuple[str, str | None, bytes]:
    return request.method, request.headers.get("idempotency-key"), request.body


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ({"method": "GET"}, ("GET", None, b"")),
        ({"method": "HEAD"}, ("HEAD", None, b"")),
        ({}, ("POST", KEY, b"")),
        ({"body": {"a": 1}}, ("POST", KEY, b'{"a":1}')),
        ({"body": [1]}, ("POST", KEY, b"[1]")),
        ({"body": {"a": 1, "b": "x y"}, "json_format": False}, ("POST", KEY, b"a=1&b=x+y")),
        ({"method": "DELETE", "headers": {"idempotency-key": "mine"}}, ("DELETE", "mine", b"")),
    ],
)
async def test_a_request_that_changes_something_carries_the_key_of_its_activation(site: Any, data: Any, sent: Any):
    await values("SendWebRequestBlock", {"url": site.origin + "/empty", **data})

    assert [_sent(request) for request in site.requests] == [sent]


async def test_files_are_sent_as_a_form(site: Any):
    data = {
        "url": site.origin + "/empty",
        "json_format": False,
        "body": {"title": "two"},
        "files_name": "docs",
        "files": ["data:text/plain;base64,aGVsbG8=", site.origin + "/image"],
    }
    await values("SendWebRequestBlock", data)

    fetched, posted = site.requests
    assert (fetched.method, fetched.path) == ("GET", "/image")
    assert posted.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="docs"; filename="file1.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n' in posted.body
    assert b'name="docs"; filename="file2.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\0\r\n' in posted.body
    assert b'name="title"\r\n\r\ntwo\r\n' in posted.body


async def test_a_person_is_asked_in_the_words_of_the_node_and_the_answer_goes_out_on_its_pin():
    asked = AskForReview({"a": 1}, "Look at a", editable=False)
    data = {"data": {"a": 1}, "name": "Look at a", "editable": False}

    assert await run("HumanInTheLoopBlock", data) == [asked]
    approved = Decision(approved=True, data={"a": 2}, message="")
    assert await run("HumanInTheLoopBlock", data, [approved]) == [asked, ("approved_data", {"a": 2})]
    rejected = Decision(approved=False, data={"a": 1}, message="no")
    assert await run("HumanInTheLoopBlock", data, [rejected]) == [
        asked,
        ("rejected_data", {"a": 1}),
        ("review_message", "no"),
    ]


async def test_without_safe_mode_nobody_is_asked_and_the_data_goes_on_as_approved():
    assert await run("HumanInTheLoopBlock", {"data": 1, "name": "one"}, safe_mode=False) == [
        ("approved_data", 1),
        ("review_message", "Nobody was asked: human_in_the_loop_safe_mode is off for this graph."),
    ]
