"""How the embedded services fail to start."""


class CannotStart(Exception):
    """An embedded service did not start; the message says why and what to change."""


class AlreadyRunning(CannotStart):
    """Another process runs the embedded services of this folder."""
