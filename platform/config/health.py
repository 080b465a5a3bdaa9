"""Whether this process can do its work."""

import logging

from django.db import DatabaseError, connection
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import envelope, error_responses

log = logging.getLogger(__name__)

CURE = "Check that Postgres runs and that DATABASE_URL is right; `manage.py doctor` tells which."


class HealthView(APIView):
    """For load balancers and supervisors."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    # Whoever asks often here must not be told that the service is ill.
    throttle_classes = ()

    @extend_schema(
        tags=["health"],
        operation_id="health",
        summary="Tell whether the service works",
        responses={
            200: inline_serializer("Health", {"status": serializers.CharField()}),
            **error_responses(503, throttled=False),
        },
    )
    def get(self, request: Request) -> Response:
        """Answer `healthy` when the database answers."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError as error:
            log.error("The health check found no database: %s", error)
            return Response(envelope("unhealthy", "The database does not answer.", CURE), status=503)
        return Response({"status": "healthy"})
