"""Requests made from the OpenAPI document: none crashes the server, and no answer is one that the document lacks.

Run by `make fuzz`, the same requests each time. A service that is not set up may answer 503 where the document has it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from accounts import keys, services
from accounts.models import ApiKeyPermission, Role, User
from tests.wire.test_idor import NO_IDS, SPEC, a_world


def no_crash(_: Any, response: Any, __: "Case[Any]") -> None:
    """An answer of 500 is a fault of ours, whatever the document says."""
    assert response.status_code != 500, response.text


CHECKS = [no_crash, status_code_conformance, content_type_conformance, response_schema_conformance]
# Random ones for each operation, after those that try out the bounds of each value.
EXAMPLES = 5
# Its stream would have to be read to the end.
LEFT_OUT = {"get_execution_events"}
# Of random ids one in so many stays, and leads nowhere.
ONE_IN = 4

schema = schemathesis.openapi.from_dict(SPEC)
schema.app = WSGIHandler()
_ids: dict[str, str] = {}
_headers: dict[str, str] = {}


@schema.hook
def map_path_parameters(_: Any, parameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Put in ids of things that are there, most of the time."""
    if not parameters or sum(map(ord, str(sorted(parameters.items())))) % ONE_IN == 0:
        return None if parameters is None else dict(parameters)
    return {**parameters, **{name: value for name, value in _ids.items() if name in parameters}}


@pytest.fixture
def _somebody(db: None) -> Iterator[None]:
    """Somebody with one of each thing, and every way to show who they are."""
    # They would end the connection, and with it the transaction of the test.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    world = a_world("fuzzed")
    User.objects.filter(pk=world.owner.pk).update(role=Role.ADMIN)
    owner = User.objects.get(pk=world.owner.pk)
    _ids.update({**NO_IDS, **world.ids})
    _headers.update(
        {
            # What checks the answers does not unpack them.
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {services.issue_tokens(owner).access}",
            "X-API-Key": keys.create_key(owner, "fuzz", list(ApiKeyPermission))[1],
        }
    )
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.include(lambda context: context.operation.definition.raw["operationId"] not in LEFT_OUT).parametrize()
@pytest.mark.usefixtures("_somebody")
@pytest.mark.timeout(120)
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_an_operation_answers_as_its_document_says(case: "Case[Any]") -> None:
    within = transaction.atomic()
    # As in pytest-django's own: what insists on being outermost may run inside of it.
    within._from_testcase = True  # type: ignore[attr-defined]
    with within:
        case.call_and_validate(headers=_headers, checks=CHECKS)
        transaction.set_rollback(True)
