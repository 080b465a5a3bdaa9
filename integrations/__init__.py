"""Other services that tell of events: webhooks, and the inbox that keeps what they deliver."""
