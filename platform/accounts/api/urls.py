"""Where the endpoints about people are, below /api/."""

from django.urls import path

from accounts.api import views

urlpatterns = [
    path("auth/token", views.LoginView.as_view()),
    path("auth/token/refresh", views.RefreshView.as_view()),
    path("auth/user", views.UserView.as_view()),
]
