"""Who is told that runs changed. The events themselves are rows; see `executions.models.Event`.

All hints about a user's runs go to one group, so that a commit costs one message whoever watches; who watches listens
to a topic.
"""

from collections.abc import Mapping
from uuid import UUID

from core.broker import Hint
from core.hints import News, message


def group(user_id: UUID) -> str:
    """The channel-layer group of those who watch runs of the user."""
    return f"user.{user_id}"


def run_topic(run_id: UUID) -> str:
    """The topic of those who watch one run."""
    return f"run.{run_id}"


def graph_topic(user_id: UUID, graph_id: UUID) -> str:
    """The topic of those who watch all of a user's runs of one graph."""
    return f"graph.{user_id}.{graph_id}"


def user_topic(user_id: UUID) -> str:
    """The topic of those who watch all of a user's runs."""
    return f"runs.{user_id}"


def event_of(run_id: UUID, head_seq: int) -> News:
    """News for those who watch the run: it has events up to `head_seq`."""
    return {run_topic(run_id): {str(run_id): head_seq}}


def turn_of(user_id: UUID, graph_id: UUID, heads: Mapping[UUID, int]) -> News:
    """News for those who watch the graph, or all of the user's: these runs are new or have another status."""
    news = {str(run_id): head_seq for run_id, head_seq in heads.items()}
    return {graph_topic(user_id, graph_id): news, user_topic(user_id): news}


def hint(user_id: UUID, news: News) -> Hint:
    """The hint that bears the news."""
    return Hint(group(user_id), message(news))
