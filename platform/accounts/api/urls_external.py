"""Where the external endpoints about people are, below /external-api/v1/."""

from django.urls import path

from accounts.api import views_external

urlpatterns = [
    path("me", views_external.MeView.as_view()),
]
