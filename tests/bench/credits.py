"""What it costs to be paid: postings beside a bare update and insert, metered runs beside others."""

import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
from django.conf import settings
from django.db import connection

from credits import ledger, price_lists
from credits.kinds import CREDIT, Kind
from credits.models import PriceEntry
from tests.bench.figures import Check, Line, Section
from tests.bench.installation import running
from tests.bench.ours import Taskloom
from tests.bench.workloads import WORKLOADS
from tests.drawing import block_id

THREADS = 4
SECONDS = 2.0
ACCOUNTS = 1_000
PLENTY = 100_000_000
PRICE = 1_000

_BARE = """
CREATE TABLE bare_account (id uuid PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE bare_transfer (
    id bigserial PRIMARY KEY, key text UNIQUE, account uuid NOT NULL, amount bigint NOT NULL,
    at timestamptz DEFAULT now());
"""

Post = Callable[[UUID, str], object]


def measure(rounds: int) -> Section:
    """Measure both."""
    section = Section(f"Credits: {rounds} interleaved rounds, in process")
    section.lines += _postings(rounds)
    with running(web=False):
        taskloom = Taskloom()
        taskloom.start()
        try:
            section.lines += _metering(taskloom, rounds)
        finally:
            taskloom.stop()
    return section


def _postings(rounds: int) -> Iterator[Line]:
    with psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True) as bare:
        bare.execute(_BARE)
        accounts = [uuid4() for _ in range(ACCOUNTS)]
        for account in accounts:
            ledger.credit(account, PLENTY * CREDIT, kind=Kind.GRANT, key=f"grant:bench:{account}")
            bare.execute("INSERT INTO bare_account VALUES (%s, %s)", (account, PLENTY * CREDIT))
    for what, some in (("one account", accounts[:1]), (f"{ACCOUNTS:,} accounts", accounts)):
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(_rate(some, _bare_post, lambda: None))
            ours.append(_rate(some, _our_post, lambda: connection.close()))
        ratio = statistics.median(ours) / statistics.median(theirs)
        how = f"{THREADS} threads post"
        yield Line(f"postings, {what}", how, "/s", ours, [Check(ratio, "× bare", 0.8, at_least=True)])
        yield Line(f"postings, {what}", "bare update and insert", "/s", theirs)


def _rate(accounts: list[UUID], post: Post, close: Callable[[], object]) -> float:
    """How many are posted in a second, to accounts at random."""
    until = time.perf_counter() + SECONDS

    def work(_: int) -> int:
        count = 0
        while time.perf_counter() < until:
            post(random.choice(accounts), f"use:{uuid4()}")
            count += 1
        close()
        return count

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(work, range(THREADS))) / SECONDS


def _our_post(account: UUID, key: str) -> object:
    return ledger.spend(account, 1, key=key)


_threads = threading.local()


def _bare_post(account: UUID, key: str) -> object:
    if not hasattr(_threads, "connection"):
        _threads.connection = psycopg.connect(os.environ["BENCH_DATABASE_URL"], prepare_threshold=1)
    with _threads.connection.transaction():
        _threads.connection.execute("UPDATE bare_account SET balance = balance - 1 WHERE id = %s", (account,))
        _threads.connection.execute(
            "INSERT INTO bare_transfer (key, account, amount) VALUES (%s, %s, 1)", (key, account)
        )
    return None


def _metering(taskloom: Taskloom, rounds: int) -> Iterator[Line]:
    ledger.credit(taskloom.graphs.user.pk, PLENTY * CREDIT, kind=Kind.GRANT, key="grant:bench:runs")
    forms = {"not metered": _free, "metered, nothing has a price": _metered, "metered, each node is charged": _priced}
    for workload in (work for work in WORKLOADS if work.code in ("W1", "W3")):
        values: dict[str, list[float]] = {form: [] for form in forms}
        for place in range(rounds + 1):
            for form, switch in forms.items():
                with switch():
                    # The first runs with new prices make everybody look them up.
                    taskloom.burst(4, 40 if workload.code == "W1" else 5)
                    [value] = workload.once(taskloom)
                if place:
                    values[form].append(value)
        base = statistics.median(values["not metered"])
        for form, measured in values.items():
            middle = statistics.median(measured)
            slower = base / middle if workload.unit == "runs/s" else middle / base
            checks = [] if form == "not metered" else [Check(slower, "× not metered", 1.1)]
            yield Line(f"{workload.code} {workload.name}", form, workload.unit, measured, checks)


@contextmanager
def _free() -> Iterator[None]:
    settings.CREDITS = "disabled"
    yield


@contextmanager
def _metered() -> Iterator[None]:
    settings.CREDITS = "paid"
    PriceEntry.objects.all().delete()
    price_lists.publish("bench", "nothing has a price")
    yield


@contextmanager
def _priced() -> Iterator[None]:
    settings.CREDITS = "paid"
    PriceEntry.objects.create(block=block_id("Calculator"), amount=PRICE)
    price_lists.publish("bench", "a price")
    yield
    PriceEntry.objects.all().delete()
