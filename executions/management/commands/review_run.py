"""`manage.py review_run RUN_ID`: show what waits in a run for a person, or decide it."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from executions import previews
from executions.models import GraphExecution, Review
from executions.reviews import MAX_LISTED, Verdict, decide, listed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"this is no JSON: {error}") from None


class Command(BaseCommand):
    """Show what waits in a run for a person, or decide it."""

    help = "Show what waits in a run for a person, or decide it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("run_id", type=UUID, help="the id of the run")
        parser.add_argument("--approve", type=UUID, action="append", default=[], metavar="ID", help="let it go on")
        parser.add_argument("--reject", type=UUID, action="append", default=[], metavar="ID", help="keep it back")
        parser.add_argument("--message", default="", help="what to say about it")
        parser.add_argument("--data", type=_value, metavar="JSON", help="what goes on instead")
        parser.add_argument("--rest", action="store_true", help="approve the rest of the run, too")

    def handle(
        self, *args: Any, run_id: UUID, approve: list[UUID], reject: list[UUID], rest: bool, **options: Any
    ) -> str | None:
        """Show or decide; raises `CommandError` for what cannot be decided."""
        run = GraphExecution.objects.filter(pk=run_id).first()
        if run is None:
            raise CommandError(f"There is no run {run_id}")
        verdicts = [
            Verdict(node, approved=is_approved, message=options["message"], data=options["data"], approves_rest=rest)
            for nodes, is_approved in ((approve, True), (reject, False))
            for node in nodes
        ]
        if not verdicts:
            return _shown(run)
        foreign = {verdict.node_execution_id for verdict in verdicts}
        foreign.difference_update(Review.objects.filter(run=run).values_list("node_execution", flat=True))
        if foreign:
            raise CommandError(f"Nothing in run {run_id} asked as {min(foreign)}")
        try:
            result = decide(run.user_id, verdicts)
        except DomainError as error:
            raise CommandError(error.message) from None
        return f"{result.approved_count} approved, {result.rejected_count} rejected"


def _shown(run: GraphExecution) -> str:
    reviews = Review.objects.waiting().filter(run=run).defer("payload").order_by("created_at", "pk")[:MAX_LISTED]
    lines = []
    for review in listed(reviews):
        lines.append(f"{review['node_exec_id']}  {review['created_at']}  {review['instructions']}")
        lines.append(f"  {json.dumps(previews.preview(review['payload'], 1000), ensure_ascii=False)}")
    return "\n".join(lines) or "Nothing waits for a person."
