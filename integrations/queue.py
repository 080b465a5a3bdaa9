"""The work this app hands to Celery, by name."""

FORGET_DELIVERIES = "integrations.forget_deliveries"
