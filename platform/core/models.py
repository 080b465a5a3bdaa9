"""What the apps' models have in common."""

from django.db import models

from core.ids import uuid7


class TimeStamped(models.Model):
    """A row with a time-ordered key that remembers when it was made and last saved."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
