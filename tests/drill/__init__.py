"""Watchers of runs while the web server is killed and Valkey forgets everything: they miss nothing."""
