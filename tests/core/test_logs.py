"""What is kept out of logs."""

import logging
import re
from io import StringIO

import pytest
from redis.exceptions import ConnectionError as RedisAway

from core.logs import OutagesInOneLine, WithoutTokens, write_like_the_rest


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("/ws?token=eyJhbGciOi.eyJ0b2.f80ITz", "/ws?token=…"),
        ("/ws?ticket=secret", "/ws?ticket=…"),
        ("/ws?a=1&token=secret&b=2", "/ws?a=1&token=…&b=2"),
        ("/api/blocks?page=2", "/api/blocks?page=2"),
    ],
)
def test_addresses_are_logged_without_their_tokens(caplog: pytest.LogCaptureFixture, address: str, logged: str) -> None:
    log = logging.getLogger("tests.addresses")
    log.addFilter(WithoutTokens())
    with caplog.at_level(logging.INFO):
        log.info('%s - "WebSocket %s" [accepted]', ("127.0.0.1", 5), address)
        log.info("nothing to see")
    assert caplog.messages == [f"('127.0.0.1', 5) - \"WebSocket {logged}\" [accepted]", "nothing to see"]


@pytest.mark.parametrize("error", [RedisAway("Connection refused."), ConnectionResetError("Connection refused.")])
def test_an_outage_takes_one_line(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    log = logging.getLogger("tests.outages")
    log.addFilter(OutagesInOneLine())
    log.error("Not %s:", "received", exc_info=error)
    assert caplog.text.endswith("Not received: Connection refused.\n")
    assert caplog.text.count("\n") == 1


def test_what_is_wrong_with_the_code_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tests.outages")
    log.addFilter(OutagesInOneLine())
    log.error("Not received", exc_info=ValueError("no number"))
    assert caplog.text.endswith("ValueError: no number\n")


def test_the_lines_of_a_server_look_like_the_rest_and_are_not_called_errors() -> None:
    written = StringIO()
    handler = logging.StreamHandler(written)
    log = logging.getLogger("tests.server.error")
    log.addHandler(handler)
    log.propagate = False
    write_like_the_rest(log.name)

    log.warning("connection open")

    assert re.fullmatch(r"\S+ \S+ WARNING tests\.server \[-\] connection open\n", written.getvalue())
