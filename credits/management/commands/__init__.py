"""Commands about credits."""
