"""Where the external endpoints of runs are, below /external-api/v1/."""

from django.urls import path

from executions.api import views_external

urlpatterns = [
    path("blocks/<str:block_id>/execute", views_external.ExecuteBlockView.as_view()),
    path("graphs/<uuid:graph_id>/execute/<int:graph_version>", views_external.ExecuteView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/results", views_external.ResultsView.as_view()),
]
