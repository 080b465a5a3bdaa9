"""Many that fire at once: `python -m tests.executions.tickers THREADS MOMENT…` fires what is due at each moment."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import django


def main(threads: int, moments: list[datetime]) -> None:
    from django.db import connection

    from executions.schedules import fire_due

    def tick(_: int) -> None:
        for moment in moments:
            fire_due(moment)
        connection.close()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(tick, range(threads)))


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), [datetime.fromisoformat(moment) for moment in sys.argv[2:]])
