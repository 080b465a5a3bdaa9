"""Where the endpoints about people are, below /api/."""

from django.urls import path

from accounts.api import views, views_keys, views_passwords, views_user

urlpatterns = [
    path("auth/token", views.LoginView.as_view()),
    path("auth/token/refresh", views.RefreshView.as_view()),
    path("auth/logout", views.LogoutView.as_view()),
    path("auth/ticket", views.TicketView.as_view()),
    path("auth/register", views_passwords.RegisterView.as_view()),
    path("auth/verify", views_passwords.VerifyView.as_view()),
    path("auth/password", views_passwords.PasswordView.as_view()),
    path("auth/password/forgot", views_passwords.ForgotView.as_view()),
    path("auth/password/reset", views_passwords.ResetView.as_view()),
    path("auth/user", views.UserView.as_view()),
    path("auth/user/email", views_user.EmailView.as_view()),
    path("auth/user/email/confirm", views_user.ConfirmEmailView.as_view()),
    path("auth/user/timezone", views_user.TimezoneView.as_view()),
    path("auth/user/preferences", views_user.PreferencesView.as_view()),
    path("api-keys", views_keys.ApiKeysView.as_view()),
    path("api-keys/<uuid:key_id>", views_keys.ApiKeyView.as_view()),
    path("api-keys/<uuid:key_id>/budget", views_keys.BudgetView.as_view()),
    path("api-keys/<uuid:key_id>/suspend", views_keys.SuspendView.as_view()),
    path("api-keys/<uuid:key_id>/resume", views_keys.ResumeView.as_view()),
    path("api-keys/<uuid:key_id>/permissions", views_keys.PermissionsView.as_view()),
]
