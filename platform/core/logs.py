"""What is in logs, and what is kept out of them."""

import json
import logging
import re
from datetime import UTC, datetime

from redis.exceptions import RedisError

from core import request_ids

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


class WithRequestId(logging.Filter):
    """Gives every record the id of the request that it belongs to as `request_id`, `-` outside of one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.request_id = request_ids.current() or "-"
        return True


class UnderItsOwnName(logging.Filter):
    """Uvicorn calls whatever it has to tell `uvicorn.error`, which readers of logs take for an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, under the name of the program."""
        record.name = record.name.removesuffix(".error")
        return True


class JsonLines(logging.Formatter):
    """One JSON object per line, for whatever collects logs."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as `time`, `level`, `logger`, `message`, `request_id`, and `traceback` if there is one."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", "-"),
            "process": record.process,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def write_like_the_rest(name: str) -> None:
    """Have the lines of a logger that a server has set up for itself look like all others, with the request's id."""
    (ours,) = [handler for handler in logging.getLogger().handlers if handler.get_name() == "stderr"]
    for handler in logging.getLogger(name).handlers:
        handler.setFormatter(ours.formatter)
        handler.addFilter(WithRequestId())
        handler.addFilter(UnderItsOwnName())
