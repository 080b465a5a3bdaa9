"""What people keep to run again."""
