"""Webhooks over REST, for their owners."""
