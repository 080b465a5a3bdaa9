"""Where the endpoints of credits are, below /api/."""

from django.urls import path

from credits.api import views

urlpatterns = [
    path("credits", views.CreditsView.as_view()),
    path("credits/admin/add_credits", views.AddCreditsView.as_view()),
]
