"""The formats in English, which is the only language."""
