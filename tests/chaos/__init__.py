"""Random chaos: runs of many shapes while workers, broker and Postgres fail at random. `python -m tests.chaos`."""
