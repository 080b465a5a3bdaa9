"""Adding transfers up: each once, in whatever order they appear."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from credits.kinds import Kind
from credits.models import DayTotal, Fold
from credits.tasks import fold_transfers
from credits.totals import balance_before
from tests.credits.books import a_transfer, add_up

USER = UUID(int=7)
NEXT_DAY = date(2026, 2, 1)


def totals() -> list[tuple[str, int, int]]:
    """The sums that are kept, by their block."""
    return sorted(DayTotal.objects.values_list("block_id", "change", "count"))


def fold() -> None:
    for _ in range(2):
        fold_transfers()


def test_what_is_used_is_added_up_by_day_graph_block_model_and_key(transactional_db: None) -> None:
    about = {"graph_id": "g", "block_id": "b", "input": {"model": "m"}, "api_key_id": "k"}
    for change in (-5, -7):
        a_transfer(USER, change, "2026-01-31 12:00", metadata=about)
    a_transfer(USER, -1, "2026-01-31 23:59:59.999999", metadata={**about, "model": "other"})
    a_transfer(USER, 50, "2026-02-01 00:00", Kind.GRANT)

    add_up()

    kept = DayTotal.objects.order_by("day", "model").values_list()
    assert [row[1:] for row in kept] == [
        (USER, date(2026, 1, 31), "USAGE", "g", "b", "m", "k", -12, 2),
        (USER, date(2026, 1, 31), "USAGE", "g", "b", "other", "k", -1, 1),
        (USER, date(2026, 2, 1), "GRANT", "", "", "", "", 50, 1),
    ]


def test_each_transfer_is_added_up_once_however_often_it_is_asked_for(transactional_db: None) -> None:
    for number in range(20):
        a_transfer(USER, -1, "2026-01-31 12:00", metadata={"block_id": str(number % 2)})

        def called(_: int) -> None:
            try:
                fold_transfers()
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(called, range(4 if number % 10 == 9 else 1)))
    add_up()
    assert totals() == [("0", -10, 10), ("1", -10, 10)]
    assert balance_before(USER, NEXT_DAY) == -20


def test_a_transfer_that_appears_below_others_is_neither_lost_nor_counted_twice(transactional_db: None) -> None:
    posted, may_commit = threading.Event(), threading.Event()

    def late() -> None:
        with transaction.atomic():
            a_transfer(USER, -3, "2026-01-31 12:00", metadata={"block_id": "late"})
            posted.set()
            may_commit.wait(20)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    assert posted.wait(20)
    a_transfer(USER, -4, "2026-01-31 12:00", metadata={"block_id": "early"})
    for _ in range(3):
        fold()
        assert balance_before(USER, NEXT_DAY) == -4
    assert totals() == []
    may_commit.set()
    thread.join(20)
    assert balance_before(USER, NEXT_DAY) == -7
    add_up()
    assert totals() == [("early", -4, 1), ("late", -3, 1)]
    assert balance_before(USER, NEXT_DAY) == -7


def test_whoever_reads_sees_what_is_not_added_up_yet(transactional_db: None) -> None:
    a_transfer(USER, 100, "2026-01-30 12:00", Kind.GRANT)
    add_up()
    before = Fold.objects.get().done
    a_transfer(USER, -30, "2026-01-31 12:00")
    a_transfer(uuid4(), -30, "2026-01-31 12:00")
    assert balance_before(USER, NEXT_DAY) == 70
    assert balance_before(USER, date(2026, 1, 31)) == 100
    add_up()
    assert Fold.objects.get().done == before + 2
    assert balance_before(USER, NEXT_DAY) == 70


@pytest.mark.django_db
def test_nothing_to_add_up_is_no_trouble() -> None:
    fold()
    assert totals() == []
    assert balance_before(USER, NEXT_DAY) == 0
