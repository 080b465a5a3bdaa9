"""The menu over REST."""
