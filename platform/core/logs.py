"""What is kept out of logs."""

import logging
import re

_TOKEN = re.compile(r"(?<=[?&]token=)[^&\s\"]+")


class WithoutTokens(logging.Filter):
    """Cuts the tokens out of the addresses that a server logs: whoever reads logs could use them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without its tokens."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub("…", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True
