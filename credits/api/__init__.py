"""Credits over REST."""
