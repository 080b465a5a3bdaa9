"""Where the endpoints of webhooks are, below /api/."""

from django.urls import path

from integrations.api import views

urlpatterns = [
    path("integrations/webhooks", views.WebhooksView.as_view()),
    path("integrations/webhooks/<uuid:webhook_id>", views.WebhookView.as_view()),
    path("integrations/webhooks/<uuid:webhook_id>/deliveries", views.DeliveriesView.as_view()),
    path("integrations/webhooks/<uuid:webhook_id>/ping", views.PingView.as_view()),
    path("integrations/webhooks/<uuid:webhook_id>/rotate", views.RotateView.as_view()),
]
