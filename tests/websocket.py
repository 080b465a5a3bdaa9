"""A WebSocket on the application, without a network between."""

from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator


class WebSocket(WebsocketCommunicator):
    """Channels' own keeps the application's threads from giving their database connections back, for tests in one
    transaction. Ours commit, and others need the connections.
    """

    send_input = ApplicationCommunicator.send_input
    receive_output = ApplicationCommunicator.receive_output
