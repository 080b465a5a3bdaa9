"""The work this app hands to Celery, by name."""

FOLD_TRANSFERS = "credits.fold_transfers"
