"""What is kept out of logs."""

import logging
import re

from redis.exceptions import RedisError

_TOKEN = re.compile(r"([?&](?:token|ticket)=)[^&\s\"]+")


class WithoutTokens(logging.Filter):
    """Cuts tokens and tickets out of the addresses that a server logs: whoever reads logs could use them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without them."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub(r"\1…", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


class OutagesInOneLine(logging.Filter):
    """Leaves the traceback out when all it tells is that Redis is away: a client that tries again logs many."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; what the error says takes the place of its traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (RedisError, OSError)):
            record.msg, record.args, record.exc_info = f"{record.getMessage()} {error}", (), None
        return True
