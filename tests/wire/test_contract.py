"""The contract that clients were written for: each of its operations is served, or the docs say that it comes later."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
AGREED = Path(__file__).with_name("contract.txt").read_text().split("\n")[:-1]
_ROW = re.compile(r"^\| `([A-Z]+ /[^`]+)` \| ((?:served|differs|later)[^|]*) \|$", re.MULTILINE)
_DOCS = (ROOT / "docs" / "http.md").read_text()
TABLE = dict(_ROW.findall(_DOCS.partition("## The contract, operation by operation")[2]))
OURS = {
    f"{method.upper()} {path}"
    for path, methods in yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text())["paths"].items()
    for method in methods
    if method in ("get", "post", "put", "patch", "delete")
}


def test_the_table_in_the_docs_has_the_operations_of_the_contract_in_their_order() -> None:
    assert list(TABLE) == AGREED
    assert len(AGREED) == 92


@pytest.mark.parametrize("operation", AGREED)
def test_an_operation_is_served_as_the_docs_say(operation: str) -> None:
    said = TABLE[operation]
    if said.startswith("later"):
        assert operation not in OURS, f"{operation} is served: say so in docs/http.md"
    else:
        assert operation in OURS, f"nothing serves {operation}"
    assert (said == "served") or re.fullmatch(r"(differs|later): \S.*", said)
