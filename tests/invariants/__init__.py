"""What must hold of the rows of every run once nothing moves any more, whatever happened to the workers meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from django.db.models import Q

from executions.models import GraphExecution
from tests.invariants import books, crowd, effects, family, life, secrets, turns, values
from tests.invariants.rows import Rows

Check = Callable[[Rows], Iterator[str]]

# Each looks at one run.
CHECKS: tuple[Check, ...] = (
    life.rest,
    life.events,
    life.events_of_activations,
    life.after_stopping,
    values.results,
    values.arrivals,
    values.large_values,
    turns.missed,
    turns.others,
    effects.intents,
    effects.apart,
    family.children,
    family.reviews,
    books.charges,
)


def violations(run_ids: Iterable[UUID] | None = None, *, secret_texts: Iterable[str] = ()) -> list[str]:
    """Every broken promise, as a sentence that names the run; of the given runs and their descendants, or of all.

    `secret_texts` must be in no row of theirs. Asked of all, the inbox of webhooks must be read, too.
    """
    runs = GraphExecution.objects.all()
    if run_ids is not None:
        ids = list(run_ids)
        runs = runs.filter(Q(pk__in=ids) | Q(root_id__in=ids))
    family_of_runs = list(runs)
    found = [f"{run.pk}: {problem}" for run in family_of_runs for problem in _problems(Rows(run))]
    found += crowd.problems(family_of_runs)
    found += secrets.leaks([run.pk for run in family_of_runs], secret_texts)
    return found if run_ids is not None else [*found, *crowd.inbox()]


def _problems(rows: Rows) -> Iterator[str]:
    for check in CHECKS:
        yield from check(rows)
