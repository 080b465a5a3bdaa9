"""The work this app hands to Celery, by name."""

SWEEP = "files.sweep"
