"""The way into what browsers open without headers: an event stream, by a ticket in its address."""

from dataclasses import replace
from typing import Any, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import tickets
from accounts.errors import NotAuthenticated
from accounts.models import User
from accounts.services import Session


class TicketAuthentication(BaseAuthentication):
    """Reads `?ticket=`. One that is there and wrong is refused, whatever else the request shows."""

    def authenticate(self, request: Request) -> tuple[User, Session] | None:
        """Whom the ticket was given to, and the session it stands for; raises `TicketRefused`."""
        text = request.query_params.get("ticket")
        if text is None:
            return None
        session = tickets.redeem(text)
        return session.user, session

    def authenticate_header(self, request: Request) -> str:
        """The other way in, for HTTP has no name for this one."""
        return "Bearer"


class TicketScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes the tickets."""

    target_class = TicketAuthentication
    name = "ticket"

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        """A key in the query."""
        return {"type": "apiKey", "in": "query", "name": "ticket"}


def session_behind(request: Request) -> Session:
    """The session of the request's token or ticket, for whomever the request is; raises `NotAuthenticated` without."""
    if not isinstance(request.auth, Session):
        raise NotAuthenticated
    # It may be of an administrator who acts as the user.
    return replace(request.auth, user=cast(User, request.user))


class TicketedView(APIView):
    """What every view is that opens to tickets as well as to tokens; see `session_behind`."""

    authentication_classes = (TicketAuthentication, *APIView.authentication_classes)
