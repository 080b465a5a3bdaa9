"""The least that a request can cost: plain Django views without middleware, on the platform's handler and database."""

import json
import os
from typing import Any
from uuid import uuid4

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path

TABLE = "CREATE TABLE IF NOT EXISTS bench_bare (id uuid PRIMARY KEY, body jsonb, at timestamptz DEFAULT now())"


def view(request: HttpRequest) -> JsonResponse:
    """Answer."""
    return JsonResponse({"status": "fine"})


def insert(request: HttpRequest) -> JsonResponse:
    """Write the body down, and answer."""
    made, body = uuid4(), json.dumps(json.loads(request.body))
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_bare (id, body) VALUES (%s, %s)", [made, body])
    return JsonResponse({"id": str(made)})


urlpatterns = [path("view", view), path("insert", insert)]


def application() -> Any:
    """The ASGI application that serves them."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.bare_settings"
    import django

    django.setup()
    from core.asgi import ThreadedHandler

    return ThreadedHandler()
