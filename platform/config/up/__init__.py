"""The whole platform on one machine, under one command."""
