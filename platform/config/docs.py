"""The OpenAPI schema and the page that shows it."""

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response


class SchemaView(SpectacularAPIView):
    """The schema, built once: building it in two threads at the same time fails."""

    authentication_classes = ()
    _lock = threading.Lock()
    _schema: ClassVar[dict[str, Any] | None] = None

    def _get_schema_response(self, request: Request) -> Response:
        with self._lock:
            if SchemaView._schema is None:
                SchemaView._schema = _schema()
        return Response(SchemaView._schema)


def _schema() -> dict[str, Any]:
    generator: Callable[[], Any] = SchemaGenerator
    return dict(generator().get_schema(public=True))


class DocsView(SpectacularSwaggerSplitView):
    """Swagger UI, from files of our own and with its script apart from the page."""

    authentication_classes = ()
    url_name = "schema"
