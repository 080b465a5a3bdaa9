"""Where the endpoints of the inbox are, below /api/."""

from django.urls import path

from notifications.api import views

urlpatterns = [
    path("notifications", views.NotificationsView.as_view()),
    path("notifications/read", views.ReadAllView.as_view()),
    path("notifications/<uuid:notification_id>/read", views.ReadView.as_view()),
]
