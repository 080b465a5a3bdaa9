"""Where the endpoints of runs are, below /api/."""

from django.urls import path

from executions.api import (
    views,
    views_again,
    views_blocks,
    views_estimate,
    views_events,
    views_presets,
    views_reviews,
    views_schedules,
    views_sharing,
    views_webhooks,
)

urlpatterns = [
    path("graphs/<uuid:graph_id>/execute/<int:graph_version>", views.ExecuteView.as_view()),
    path("graphs/<uuid:graph_id>/execute-batch/<int:graph_version>", views.ExecuteBatchView.as_view()),
    path("graphs/<uuid:graph_id>/estimate", views_estimate.EstimateView.as_view()),
    path("graphs/<uuid:graph_id>/executions", views.GraphExecutionsView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>", views.GraphExecutionView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/stop", views.StopView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/retry", views_again.RetryView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/replay", views_again.ReplayView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/diff", views_again.DiffView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/why", views_again.WhyView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/events", views_events.EventsView.as_view()),
    path("graphs/<uuid:graph_id>/executions/<uuid:graph_exec_id>/share", views_sharing.ShareView.as_view()),
    path("public/shared/<str:share_token>", views_sharing.SharedRunView.as_view()),
    path("blocks/<str:block_id>/execute", views_blocks.ExecuteBlockView.as_view()),
    path("executions", views.ExecutionsView.as_view()),
    path("executions/<uuid:graph_exec_id>", views.ExecutionView.as_view()),
    path("graphs/<uuid:graph_id>/schedules", views_schedules.GraphSchedulesView.as_view()),
    path("schedules", views_schedules.SchedulesView.as_view()),
    path("schedules/preview", views_schedules.PreviewView.as_view()),
    path("schedules/<uuid:schedule_id>", views_schedules.ScheduleView.as_view()),
    path("schedules/<uuid:schedule_id>/pause", views_schedules.PauseView.as_view()),
    path("schedules/<uuid:schedule_id>/resume", views_schedules.ResumeView.as_view()),
    path("schedules/<uuid:schedule_id>/next-runs", views_schedules.NextRunsView.as_view()),
    path("schedules/<uuid:schedule_id>/fires", views_schedules.FiresView.as_view()),
    path("library/presets/<uuid:preset_id>/execute", views_presets.ExecutePresetView.as_view()),
    path("integrations/<str:provider>/webhooks/<uuid:webhook_id>/ingress", views_webhooks.IngressView.as_view()),
    path("review/pending", views_reviews.PendingReviewsView.as_view()),
    path("review/execution/<uuid:graph_exec_id>", views_reviews.ExecutionReviewsView.as_view()),
    path("review/action", views_reviews.ReviewActionView.as_view()),
]
