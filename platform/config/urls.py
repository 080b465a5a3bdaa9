"""Every URL of the site: one include per app."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from config.docs import DocsView, SchemaView
from config.health import HealthView
from config.metrics import MetricsView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    path("favicon.ico", RedirectView.as_view(url=static("taskloom/icon.svg"))),
    path("health", HealthView.as_view(), name="health"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(), name="docs"),
    path("api/", include("accounts.api.urls")),
    path("api/", include("credits.api.urls")),
    path("api/", include("notifications.api.urls")),
    path("api/", include("integrations.api.urls")),
    path("api/", include("graphs.api.urls")),
    path("api/", include("executions.api.urls")),
    path("api/library/", include("library.api.urls")),
    path("api/builder/", include("builder.api.urls")),
    path("api/", include("files.api.urls")),
    path("external-api/v1/", include("accounts.api.urls_external")),
    path("external-api/v1/", include("graphs.api.urls_external")),
    path("external-api/v1/", include("executions.api.urls_external")),
    path("admin/", admin.site.urls),
]

handler400 = "core.api.answer_bad_request"
handler404 = "core.api.answer_unknown_path"
handler500 = "core.api.answer_crash"
