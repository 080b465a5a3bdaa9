"""What is kept out of logs."""

import logging

import pytest

from core.logs import WithoutTokens


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("/ws?token=eyJhbGciOi.eyJ0b2.f80ITz", "/ws?token=…"),
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
