"""Where the endpoints of runs are, below /api/."""

from django.urls import path

from executions.api import views, views_again

urlpatterns = [
    path("graphs/<uuid:graph_id>/execute/<int:graph_version>", views.ExecuteView.as_view()),
    path("graphs/<uuid:graph_id>/executions", views.GraphExecutionsView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>", views.GraphExecutionView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/stop", views.StopView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/retry", views_again.RetryView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/replay", views_again.ReplayView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/diff", views_again.DiffView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/why", views_again.WhyView.as_view()),
    path("executions", views.ExecutionsView.as_view()),
    path("executions/<uuid:graph_exec_id>", views.ExecutionView.as_view()),
]
