"""The tests: they speak through the doors, to real servers."""
