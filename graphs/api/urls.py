"""Where the endpoints of graphs and blocks are, below /api/."""

from django.urls import path

from graphs.api import views

urlpatterns = [
    path("graphs", views.GraphsView.as_view()),
    path("graphs/<uuid:graph_id>", views.GraphView.as_view()),
    path("graphs/<uuid:graph_id>/settings", views.SettingsView.as_view()),
    path("graphs/<uuid:graph_id>/versions", views.VersionsView.as_view()),
    path("graphs/<uuid:graph_id>/versions/active", views.ActiveVersionView.as_view()),
    path("graphs/<uuid:graph_id>/versions/<int:version>", views.VersionView.as_view()),
    path("blocks", views.BlocksView.as_view()),
]
