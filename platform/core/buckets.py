"""Token buckets: each act takes a token, and tokens come back with time.

A bucket is one number in Redis: when it will be full again. A script reads the server's clock, looks and writes in one
go, so that however many processes ask at the same moment, exactly as many are let through as there are tokens.
"""

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import redis
from django.conf import settings

from core.broker import client_of

log = logging.getLogger(__name__)

# What to take, as (size, microseconds for a token) for each key. Takes one token of every bucket, or none at all.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full, answer = {}, {1}
for i, key in ipairs(KEYS) do
  local room = ARGV[2 * i - 1] * ARGV[2 * i]
  local known = tonumber(redis.call('GET', key)) or now
  full[i] = math.min(math.max(known, now), now + room)
  if full[i] + ARGV[2 * i] > now + room then answer[1] = 0 end
end
for i, key in ipairs(KEYS) do
  local size, pace = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if answer[1] == 1 then
    full[i] = full[i] + pace
    redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
  end
  answer[i + 1] = full[i] - now
end
return answer
"""
_PREFIX = "taskloom:bucket:"
_MICROSECONDS = 1_000_000
# How long a Redis that did not answer is left alone, so that not every request waits for it.
_SILENCE_SECONDS = 5.0
_MOST_LOCAL = 10_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """`size` tokens for whom `key` names; an empty bucket is full again after `seconds`."""

    key: str
    size: int
    seconds: float

    @property
    def pace(self) -> int:
        """After how many microseconds the next token comes."""
        return max(1, round(self.seconds * _MICROSECONDS / self.size))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a token was taken, and how the scarcest of the buckets stands.

    `wait` is after how many seconds a refused act may come again, `reset` after how many the bucket is full.
    """

    accepted: bool
    key: str
    limit: int
    remaining: int
    wait: float
    reset: float


def take(buckets: Sequence[Bucket], *, guards: bool) -> Verdict | None:
    """Take a token from each of the buckets, or from none of them when one is empty; in one round trip.

    When Redis does not answer, what `guards` something is counted in this process alone, and the rest passes: None.
    """
    shared = _shared(settings.REDIS_URL)
    if (missing := shared.take(buckets)) is None:
        if not guards:
            return None
        missing = _local.take(buckets)
    return _verdict(buckets, *missing)


class LocalBuckets:
    """The buckets of one process, which stand in for the shared ones."""

    def __init__(self) -> None:
        self._full: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, buckets: Sequence[Bucket]) -> tuple[bool, list[float]]:
        """Whether tokens were taken, and for each bucket after how many microseconds it is full."""
        with self._lock:
            now = time.monotonic() * _MICROSECONDS
            self._forget(now)
            missing = [max(0.0, self._full.get(each.key, now) - now) for each in buckets]
            accepted = all(
                gone + each.pace <= each.size * each.pace for gone, each in zip(missing, buckets, strict=True)
            )
            if accepted:
                missing = [gone + each.pace for gone, each in zip(missing, buckets, strict=True)]
                self._full.update({each.key: now + gone for gone, each in zip(missing, buckets, strict=True)})
            return accepted, missing

    def _forget(self, now: float) -> None:
        """Keep it small: buckets that are full need no entry, and of too many the oldest go."""
        if len(self._full) < _MOST_LOCAL:
            return
        self._full = {key: full for key, full in self._full.items() if full > now}
        for key in list(self._full)[: max(0, len(self._full) - _MOST_LOCAL // 2)]:
            del self._full[key]


class SharedBuckets:
    """The buckets in Redis, which all processes share."""

    def __init__(self, url: str) -> None:
        # By its hash; the client sends the text again when the server has lost it.
        self._script = client_of(url).register_script(_SCRIPT)
        self._asks_again_at = 0.0

    def take(self, buckets: Sequence[Bucket]) -> tuple[bool, list[float]] | None:
        """As `LocalBuckets.take`; None when Redis does not answer."""
        if time.monotonic() < self._asks_again_at:
            return None
        keys = [_PREFIX + each.key for each in buckets]
        arguments = [number for each in buckets for number in (each.size, each.pace)]
        try:
            accepted, *missing = cast(list[int], self._script(keys=keys, args=cast(Any, arguments)))
        except (redis.RedisError, OSError) as error:
            self._asks_again_at = time.monotonic() + _SILENCE_SECONDS
            log.warning("Requests are not counted in Redis for %g s: %s", _SILENCE_SECONDS, error)
            return None
        return bool(accepted), [float(each) for each in missing]


_local = LocalBuckets()


@cache
def _shared(url: str) -> SharedBuckets:
    return SharedBuckets(url)


def _verdict(buckets: Sequence[Bucket], accepted: bool, missing: Sequence[float]) -> Verdict:
    each = [_verdict_of(bucket, accepted, gone) for bucket, gone in zip(buckets, missing, strict=True)]
    return min(each, key=lambda verdict: (-verdict.wait, verdict.remaining))


def _verdict_of(bucket: Bucket, accepted: bool, missing: float) -> Verdict:
    room = bucket.size * bucket.pace
    return Verdict(
        accepted=accepted,
        key=bucket.key,
        limit=bucket.size,
        remaining=math.floor((room - missing) / bucket.pace),
        wait=0.0 if accepted else max(0.0, (missing + bucket.pace - room) / _MICROSECONDS),
        reset=missing / _MICROSECONDS,
    )
