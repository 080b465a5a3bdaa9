"""How the admin site writes times."""
