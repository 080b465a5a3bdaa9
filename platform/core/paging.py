"""Lists in pages. However long a list is, a page costs the same: nothing counts or skips more than 10,000 rows."""

import re
import struct
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request

from core.api import Problem, RequestInvalid

MOST_COUNTED = 10_000

AnyModel = TypeVar("AnyModel", bound=Model)
Item = TypeVar("Item")
Pagination = dict[str, Any]


class PaginationSerializer(serializers.Serializer[Any]):
    """Where a page stands in its list."""

    total_items = serializers.IntegerField()
    total_pages = serializers.IntegerField()
    current_page = serializers.IntegerField()
    page_size = serializers.IntegerField()


class CursorPaginationSerializer(PaginationSerializer):
    """Where a page stands in a list that may be long."""

    total_items = serializers.IntegerField(help_text=f"Counted up to {MOST_COUNTED:,}: then there may be more.")
    total_pages = serializers.IntegerField(help_text="Those that total_items fill; cursors lead on behind the last.")
    next_cursor = serializers.CharField(
        allow_null=True, help_text="Send it as `cursor` to get the page behind this one; null on the last."
    )


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list the caller asks for: `page` counts from 1, `page_size` rows each."""

    page: int
    page_size: int

    @classmethod
    def of(cls, request: Request, *, default: int = 25, maximum: int = 100) -> Self:
        """Read `page` and `page_size` of the query; raises `RequestInvalid` when one is out of bounds."""
        page, page_size, problems = _page_of(request, default, maximum, "Pages end there.")
        if problems:
            raise RequestInvalid(problems)
        return cls(page, page_size)

    def cut(self, rows: QuerySet[AnyModel]) -> tuple[list[AnyModel], Pagination]:
        """The rows of this page and the pagination object; `rows` must have a total order.

        A page after the last is empty.
        """
        start = (self.page - 1) * self.page_size
        page = list(rows[start : start + self.page_size])
        ends_here = len(page) < self.page_size and (page or start == 0)
        total = start + len(page) if ends_here else bounded_count(rows)
        return page, _pagination(total, self.page, self.page_size)

    def cut_list(self, items: Sequence[Item]) -> tuple[Sequence[Item], Pagination]:
        """The same of things that are no rows."""
        start = (self.page - 1) * self.page_size
        return items[start : start + self.page_size], _pagination(len(items), self.page, self.page_size)


@dataclass(frozen=True, slots=True)
class Place:
    """The beginning of a page of a list that has the newest first: behind the row with this time and key."""

    page: int
    time: datetime
    key: UUID

    def text(self) -> str:
        """The place as a cursor, which clients hand back as it is."""
        microseconds = (self.time - _EPOCH) // timedelta(microseconds=1)
        return urlsafe_b64encode(_CURSOR.pack(_VERSION, self.page, microseconds, self.key.bytes)).decode()

    @classmethod
    def of(cls, cursor: str) -> Self:
        """The place that a cursor stands for; raises `ValueError` for what `text` never wrote."""
        try:
            version, page, microseconds, key = _CURSOR.unpack(b64decode(cursor, altchars=b"-_", validate=True))
            place = cls(page, _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=key))
        except (struct.error, OverflowError) as error:
            raise ValueError(str(error)) from None
        if version != _VERSION or page < 2 or place.text() != cursor:
            raise ValueError("no page gave this cursor")
        return place


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 1
# Thirty bytes, which need no padding.
_CURSOR = struct.Struct(">HIq16s")


@dataclass(frozen=True, slots=True)
class CursorPaging:
    """Which page of a list, newest first, the caller asks for: by its number, or by the cursor of the page before.

    What is added while somebody turns the pages by cursor neither shifts them nor appears in them.
    """

    page: int
    page_size: int
    after: Place | None = None

    @classmethod
    def of(cls, request: Request, *, default: int = 25, maximum: int = 100) -> Self:
        """Read `page` or `cursor`, and `page_size`, of the query; raises `RequestInvalid` naming each wrong one."""
        page, page_size, problems = _page_of(request, default, maximum, "Read on with `cursor` from `next_cursor`.")
        cursor = request.query_params.get("cursor")
        after = None
        if cursor is not None:
            if "page" in request.query_params:
                problems.append(_problem("cursor", "Input should come without page, which it tells", "cursor_or_page"))
            try:
                after = Place.of(cursor)
            except ValueError:
                problems.append(_problem("cursor", "Input should be a next_cursor of this list", "cursor"))
        if problems:
            raise RequestInvalid(problems)
        return cls(after.page if after else page, page_size, after)

    def cut(self, rows: QuerySet[AnyModel]) -> tuple[list[AnyModel], Pagination]:
        """The rows of this page, newest first, and the pagination object.

        The rows are ordered by `created_at` and a key that is a UUID. A page after the last is empty.
        """
        ordered = rows.order_by("-created_at", "-pk")
        if self.after is None:
            start, left = (self.page - 1) * self.page_size, ordered
        else:
            # Said in this way, it is found by an index: the rows of that same moment are few.
            start, left = 0, ordered.filter(created_at__lte=self.after.time)
            left = left.exclude(created_at=self.after.time, pk__gte=self.after.key)
        found = list(left[start : start + self.page_size + 1])
        page: list[Any] = found[: self.page_size]
        is_last = len(found) <= self.page_size
        next_cursor = None if is_last else Place(self.page + 1, page[-1].created_at, page[-1].pk).text()
        # The first page says itself how long a list is that ends on it.
        total = len(page) if is_last and self.after is None and self.page == 1 else bounded_count(ordered)
        return page, {**_pagination(total, self.page, self.page_size), "next_cursor": next_cursor}


def bounded_count(rows: QuerySet[AnyModel]) -> int:
    """How many rows there are, or 10,000 if there are more: counting a million takes half a second.

    Rows in an order that an index has are counted in the index alone.
    """
    return rows.values("pk")[:MOST_COUNTED].count()


def page_headers(pagination: Pagination) -> dict[str, str]:
    """Where a plain list stands, for those who turn its pages: `X-Total-Items` and so on, for what is not None."""
    told = {key: value for key, value in pagination.items() if value is not None}
    return {f"X-{key.replace('_', '-').title()}": str(value) for key, value in told.items()}


def page_parameters(*, default: int = 25, maximum: int = 100) -> list[OpenApiParameter]:
    """The schema's `page` and `page_size`."""
    page = f"Which page, counted from 1. Pages reach the first {MOST_COUNTED:,} items."
    return [
        OpenApiParameter("page", int, default=1, description=page),
        OpenApiParameter("page_size", int, default=default, description=f"Items on a page, at most {maximum}."),
    ]


def cursor_parameters(*, default: int = 25, maximum: int = 100) -> list[OpenApiParameter]:
    """The schema's `page`, `page_size` and `cursor`."""
    cursor = "The `next_cursor` of the page before, instead of `page`."
    return [*page_parameters(default=default, maximum=maximum), OpenApiParameter("cursor", str, description=cursor)]


def _pagination(total: int, page: int, page_size: int) -> Pagination:
    return {
        "total_items": total,
        "total_pages": -(-total // page_size),
        "current_page": page,
        "page_size": page_size,
    }


def _page_of(request: Request, default: int, maximum: int, instead: str) -> tuple[int, int, list[Problem]]:
    """The number of a page, the size of pages, and what is wrong; `instead` says what to do beyond the last page."""
    problems: list[Problem] = []
    page = _whole_number(request, "page", 1, 1_000_000, problems)
    page_size = _whole_number(request, "page_size", default, maximum, problems)
    if (page - 1) * page_size >= MOST_COUNTED:
        last = -(-MOST_COUNTED // page_size)
        message = f"Pages of {page_size} are numbered up to {last}, for the first {MOST_COUNTED:,} items. {instead}"
        problems.append(_problem("page", message, "too_deep"))
    return page, page_size, problems


def _whole_number(request: Request, name: str, default: int, maximum: int, problems: list[Problem]) -> int:
    text = request.query_params.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and 1 <= int(text) <= maximum:
        return int(text)
    problems.append(_problem(name, f"Input should be a whole number from 1 to {maximum}", "int_range"))
    return default


def _problem(name: str, message: str, kind: str) -> Problem:
    return {"loc": ["query", name], "msg": message, "type": kind}
