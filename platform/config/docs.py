"""The OpenAPI schema and the page that shows it."""

import threading
from typing import Any, ClassVar

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response


class SchemaView(SpectacularAPIView):
    """The schema, built once: building it in two threads at the same time fails."""

    authentication_classes: ClassVar[list[Any]] = []
    _lock = threading.Lock()
    _schema: ClassVar[dict[str, Any] | None] = None

    def _get_schema_response(self, request: Request) -> Response:
        with self._lock:
            if SchemaView._schema is None:
                SchemaView._schema = self.generator_class().get_schema(public=True)
        return Response(SchemaView._schema)


class DocsView(SpectacularSwaggerView):
    """Swagger UI, from files of our own."""

    authentication_classes: ClassVar[list[Any]] = []
    url_name = "schema"
