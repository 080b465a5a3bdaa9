"""Runs as earlier releases made them, a folder for each release: today's engine must make the same turns."""
