"""Django's Postgres backend, which gives away no connection that Postgres has ended."""
