"""Secrets leave a graph before the graph leaves the house; pure, no database."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.schemas import NodeDraft
from graphs.stripping import REMOVED, is_secret_key, strip_node, strip_text
from tests import make
from tests.drawing import block_id

# Shaped like the real thing, made up for these tests.
SECRETS = {
    "our own": "tlk_0000000000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "openai": "sk-proj-4fTq81LmVbXc93RzQnYw",
    "anthropic": "sk-ant-api03-Zk8fJ2mQ-x9",
    "github": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_fine": "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv",
    "slack": "xoxb-2147483647-abcdefghijkl",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "google": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "stripe": "rk_live_51H8xQ2eZvKYlo2C",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "hex": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
    "base62": "Zx81kQp0Lm3Vn7Rt5Yb2Wc9Hd4Jf6Gs",
    "base64": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ1+a=",
}


def stripped(block: str = "StoreValue", **constants: Any) -> dict[str, Any]:
    return strip_node(NodeDraft(block_id=block_id(block), input_default=constants))[0]


@pytest.mark.parametrize("name", SECRETS)
def test_a_key_in_free_text_is_removed(name: str) -> None:
    text = f"Use {SECRETS[name]} for this, please."
    assert strip_text(text) == f"Use {REMOVED} for this, please."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc123def456", f"Authorization: Bearer {REMOVED}"),
        ("authorization: basic dXNlcjpwYXNz", f"authorization: basic {REMOVED}"),
        ("postgres://joe:hunter2@db.example.com/x", f"postgres://{REMOVED}@db.example.com/x"),
        ("https://api.example.com/v1?api_key=12345678&page=2", f"https://api.example.com/v1?api_key={REMOVED}&page=2"),
        ("password=swordfish and so on", f"password={REMOVED} and so on"),
        ('{"client_secret": "abcdef12"}', f'{{"client_secret": "{REMOVED}"}}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nrest", f"{REMOVED}\nrest"),
    ],
)
def test_only_the_secret_part_of_a_text_is_removed(text: str, kept: str) -> None:
    assert strip_text(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "Write a basic introduction to bearer authentication.",
        "Ask for the password: {{ password }}",
        "graph 01980000-0000-7000-8000-0000000000aa, block 715696a0-e1da-45c8-b209-c2fa9c3b0be6",
        "https://example.com/articles/2026/how-to-weave-a-graph-in-10-easy-steps?page=2",
        "a_long_variable_name_of_version_2_of_the_template",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "00000000000000000000000000000000",
        "Der Schlüssel passt nicht: 12345678901234567890",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert strip_text(text) == text


@pytest.mark.parametrize(
    "key",
    ["api_key", "apiKey", "openai_api_key", "password", "SMTP_PASSWORD", "client_secret", "accessToken", "auth-token",
     "credentials", "github_credentials", "headers_#_Authorization", "private_key", "X-Api-Key"],
)  # fmt: skip
def test_a_key_that_says_so_is_a_secret(key: str) -> None:
    assert is_secret_key(key, "x")


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_tokens", 400), ("max_tokens", "400"), ("tokenizer", "fast"), ("token_limit", 10), ("secret", True),
     ("keyboard", "de"), ("secretary", "Joe"), ("key", "x"), ("primary_key", "id"), ("password", None)],
)  # fmt: skip
def test_a_key_that_only_looks_like_it_is_none(key: str, value: object) -> None:
    assert not is_secret_key(key, value)


def test_secrets_go_from_any_depth_and_from_lists() -> None:
    constants = stripped(
        input={
            "max_tokens": 5,
            "deep": [{"api_key": "x", "keep": 1}, "Bearer abc123def456", ["sk-proj-4fTq81LmVbXc93RzQnYw"]],
        }
    )
    assert constants == {"input": {"max_tokens": 5, "deep": [{"keep": 1}, f"Bearer {REMOVED}", [REMOVED]]}}


def test_a_secret_input_loses_its_value_but_stays_secret() -> None:
    assert stripped("AgentInput", name="api_key", value="x", secret=True) == {"name": "api_key", "secret": True}
    assert stripped("AgentInput", name="who", value="you", secret=False) == {
        "name": "who",
        "value": "you",
        "secret": False,
    }


def test_an_agent_keeps_the_pins_that_are_named_like_secrets() -> None:
    block, constants = make.an_agent("01980000-0000-7000-8000-0000000000aa", inputs=["password", "who"])
    constants["input_schema"]["properties"]["password"] = {"title": "Password", "default": "hunter2"}
    kept = stripped(block, **{**constants, "inputs": {"password": "hunter2", "who": "you"}})
    assert kept["input_schema"]["properties"] == {"password": {"title": "Password"}, "who": {}}
    assert kept["input_schema"]["required"] == ["password", "who"]
    assert kept["inputs"] == {"who": "you"}
    assert kept["graph_id"] == "01980000-0000-7000-8000-0000000000aa"


def test_metadata_is_stripped_too() -> None:
    node = NodeDraft(
        block_id=block_id("StoreValue"),
        metadata={"position": {"x": 1.5, "y": 2}, "note": "use ghp_16C7e42F292c6912E7710c838347Ae178B4a"},
    )
    assert strip_node(node)[1] == {"position": {"x": 1.5, "y": 2}, "note": f"use {REMOVED}"}


def test_a_node_of_a_block_that_is_not_installed_is_stripped_too() -> None:
    assert strip_node(NodeDraft(block_id="gone", input_default={"api_key": "x", "n": 1}))[0] == {"n": 1}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.sampled_from(sorted(SECRETS.values())),
        lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=12), inside, max_size=3),
        max_leaves=12,
    )
)
def test_no_known_secret_survives_anywhere(value: object) -> None:
    text = json.dumps(stripped(input=value), ensure_ascii=False)
    assert not [name for name, secret in SECRETS.items() if secret in text]


def test_stripping_twice_changes_nothing_more() -> None:
    once = stripped(input=[f"use {secret}" for secret in SECRETS.values()])
    assert stripped(**once) == once


@pytest.mark.parametrize(
    "part",
    ["a", "aB3", "aaa-", "bearer ", "basic A-", "x://", "http://a:", "token= ", "eyJ-", "sk-", "SG.", "AIza-", "xoxb-",
     "-----BEGIN PRIVATE KEY-----", "api_key", "x:y@", " \t", "\"'= "],
)  # fmt: skip
def test_an_evil_text_takes_no_longer_than_another(part: str) -> None:
    begun = time.perf_counter()
    strip_text(part * (300_000 // len(part)))
    assert time.perf_counter() - begun < 2.0
