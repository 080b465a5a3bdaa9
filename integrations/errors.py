"""How webhooks, and what is delivered to them, fail."""

from typing import ClassVar

from core.errors import Conflict, Invalid, NotFound, Refused, Unavailable


class NoSuchWebhook(NotFound):
    """There is no such webhook."""


class WebhookProviderUnknown(Invalid):
    """Nobody here understands the events of this provider."""


class TooManyWebhooks(Conflict):
    """You have as many webhooks as one user may have."""

    hint: ClassVar[str] = "Delete presets that are no longer needed: a webhook goes with the last of its presets."


class AlwaysSigned(Conflict):
    """This provider signs whatever it sends."""


class NoPublicAddress(Unavailable):
    """Webhooks are switched off here: nobody knows under which address this site is reached from outside."""

    hint: ClassVar[str] = "Set PLATFORM_BASE_URL, e.g. to https://taskloom.example.com."


class HeaderUnusable(Invalid):
    """A header that tells about the delivery is missing or malformed."""


class SignatureRefused(Refused):
    """The signature is missing, wrong or too old."""

    hint: ClassVar[str] = "Sign the body byte for byte as it is sent, with the secret of this webhook."


class PayloadTooLarge(Invalid):
    """The body is larger than 1 MB."""

    status: ClassVar[int] = 413
    hint: ClassVar[str] = "Send less: where the large thing is, rather than the thing."


class PayloadNotPlainJSON(Invalid):
    """The body must be application/json, and not compressed."""

    status: ClassVar[int] = 415
    hint: ClassVar[str] = "Send Content-Type: application/json and no Content-Encoding."


class PayloadNotAnObject(Invalid):
    """The body must be a JSON object."""

    status: ClassVar[int] = 422
    hint: ClassVar[str] = 'Put the value into an object, e.g. {"value": …}.'
