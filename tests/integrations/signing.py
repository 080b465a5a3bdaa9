"""What an honest sender puts into the headers of a delivery, made with other means than the code that checks it."""

import subprocess
import time
from base64 import b64decode, b64encode

JSON = {"Content-Type": "application/json"}


def hmac_by_openssl(key: bytes, message: bytes) -> bytes:
    """The HMAC-SHA256 as the command line makes it."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"]
    return subprocess.run(command, input=message, capture_output=True, check=True).stdout


def github(secret: str, body: bytes, *, event: str = "push", delivery_id: str = "72d3162e") -> dict[str, str]:
    """GitHub's headers."""
    signature = f"sha256={hmac_by_openssl(secret.encode(), body).hex()}"
    return {**JSON, "X-GitHub-Event": event, "X-GitHub-Delivery": delivery_id, "X-Hub-Signature-256": signature}


def standard(secret: str, body: bytes, *, delivery_id: str = "msg_1", at: int | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks, signed now unless told otherwise."""
    moment = str(int(time.time()) if at is None else at)
    signed = hmac_by_openssl(b64decode(secret), b".".join([delivery_id.encode(), moment.encode(), body]))
    signature = f"v1,{b64encode(signed).decode()}"
    return {**JSON, "webhook-id": delivery_id, "webhook-timestamp": moment, "webhook-signature": signature}
