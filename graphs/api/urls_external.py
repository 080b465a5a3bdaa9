"""Where the external endpoints of graphs and blocks are, below /external-api/v1/."""

from django.urls import path

from graphs.api import views_external

urlpatterns = [
    path("blocks", views_external.BlocksView.as_view()),
    path("graphs", views_external.GraphsView.as_view()),
    path("graphs/<uuid:graph_id>", views_external.GraphView.as_view()),
]
