"""Where the endpoints of credits are, below /api/."""

from django.urls import path

from credits.api import views, views_history, views_payments, views_usage

urlpatterns = [
    path("credits", views.CreditsView.as_view()),
    path("credits/transactions", views_history.TransactionsView.as_view()),
    path("credits/statement", views_history.StatementView.as_view()),
    path("credits/usage", views_usage.UsageView.as_view()),
    path("credits/manage", views_payments.PortalView.as_view()),
    path("credits/auto-top-up", views_payments.AutoTopUpView.as_view()),
    path("credits/refunds", views_payments.RefundsView.as_view()),
    path("credits/stripe_webhook", views_payments.StripeWebhookView.as_view()),
    path("credits/<str:transaction_key>/refund", views_payments.RefundView.as_view()),
    path("credits/admin/add_credits", views.AddCreditsView.as_view()),
    path("credits/admin/users_history", views_history.UsersHistoryView.as_view()),
]
