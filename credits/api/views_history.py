"""The endpoints of what happened to balances."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core import json
from core.api import checked_query, error_responses
from core.choices import OneOfField
from core.paging import PaginationSerializer, Paging, page_parameters
from credits.api.downloads import Download, Negotiation
from credits.errors import LimitInvalid
from credits.history import MOST_LINES, Line, history_of, transfers_with_balances
from credits.kinds import CREDIT, Kind
from credits.ledger import settled_balance
from credits.models import Account, Transfer
from credits.statements import Month, as_csv, as_json

TRANSACTION_TYPES = [kind.value for kind in Kind]
_MOST_FOUND = 1000


class TransactionsQuery(serializers.Serializer[Any]):
    """Which part of the history."""

    transaction_time = serializers.DateTimeField(
        required=False, help_text="Only what is older; `next_transaction_time` of the page before."
    )
    transaction_type = OneOfField(TRANSACTION_TYPES, required=False)
    transaction_count_limit = serializers.IntegerField(default=100, help_text=f"1 to {MOST_LINES}.")


class UsersHistoryQuery(serializers.Serializer[Any]):
    """Whose history."""

    search = serializers.CharField(
        required=False, max_length=254, help_text="Part of an email or a name, or a user's id."
    )
    transaction_filter = OneOfField(TRANSACTION_TYPES, required=False)


class StatementQuery(serializers.Serializer[Any]):
    """Which statement, in which form."""

    month = serializers.RegexField(
        r"^20[0-9]{2}-(0[1-9]|1[0-2])$",
        required=False,
        error_messages={"invalid": "Input should be a month such as 2026-01."},
        help_text="Such as 2026-01, of UTC; absent: this month.",
    )
    format = OneOfField(["json", "csv"], default="json")


class UserTransactionSerializer(serializers.Serializer[Any]):
    """What happened to a balance: one transfer, or all that a run used."""

    transaction_key = serializers.CharField()
    transaction_time = serializers.DateTimeField(help_text="Of the newest transfer.")
    transaction_type = serializers.ChoiceField(TRANSACTION_TYPES)
    amount = serializers.IntegerField(help_text="Whole credits, rounded down; below 0 for what left the balance.")
    amount_microcredits = serializers.IntegerField(help_text="Exactly.")
    running_balance = serializers.IntegerField(help_text="Whole credits there were after it, rounded down.")
    running_balance_microcredits = serializers.IntegerField(help_text="Exactly, with what runs have set aside.")
    current_balance = serializers.IntegerField(help_text="Whole credits that can be spent now, rounded down.")
    description = serializers.CharField(allow_null=True)
    usage_graph_id = serializers.CharField(allow_null=True)
    usage_execution_id = serializers.UUIDField(allow_null=True)
    usage_node_count = serializers.IntegerField(help_text="Charges of the run.")
    usage_start_time = serializers.DateTimeField(allow_null=True, help_text="Of the run's first charge.")
    user_id = serializers.UUIDField()
    user_email = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    admin_email = serializers.CharField(allow_null=True, help_text="Who changed the balance by hand.")
    extra_data = serializers.CharField(allow_null=True, help_text="What else was written down, as JSON.")


class TransactionsSerializer(serializers.Serializer[Any]):
    """A page of the history."""

    transactions = UserTransactionSerializer(many=True)
    next_transaction_time = serializers.DateTimeField(
        allow_null=True, help_text="Send it as `transaction_time` for the next page; null on the last."
    )


class UsersHistorySerializer(serializers.Serializer[Any]):
    """A page of everybody's transfers."""

    history = UserTransactionSerializer(many=True)
    pagination = PaginationSerializer()


class PostingSerializer(serializers.Serializer[Any]):
    """One transfer."""

    transaction_key = serializers.CharField()
    transaction_time = serializers.DateTimeField()
    transaction_type = serializers.ChoiceField(TRANSACTION_TYPES)
    description = serializers.CharField()
    usage_graph_id = serializers.CharField(allow_null=True)
    usage_execution_id = serializers.UUIDField(allow_null=True)
    amount_microcredits = serializers.IntegerField()
    balance_microcredits = serializers.IntegerField()


class StatementSerializer(serializers.Serializer[Any]):
    """All transfers of a month, and the balances that they lead from and to."""

    month = serializers.CharField()
    opening_balance_microcredits = serializers.IntegerField()
    transactions = PostingSerializer(many=True)
    totals_microcredits = serializers.DictField(child=serializers.IntegerField(), help_text="By transaction_type.")
    closing_balance_microcredits = serializers.IntegerField()


class TransactionsView(APIView):
    """The caller's history."""

    @extend_schema(
        tags=["credits"],
        operation_id="list_transactions",
        summary="Tell what happened to your balance",
        parameters=[TransactionsQuery],
        responses={200: TransactionsSerializer, **error_responses(400, 401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Newest first; all that a run used is one line, which is as old as the run's newest charge."""
        query = checked_query(TransactionsQuery, request)
        limit = query["transaction_count_limit"]
        if not 1 <= limit <= MOST_LINES:
            raise LimitInvalid(f"transaction_count_limit is {limit}, and must be from 1 to {MOST_LINES}")
        user = cast(User, request.user)
        kind = query.get("transaction_type")
        lines, next_time = history_of(
            user.pk, before=query.get("transaction_time"), kind=Kind(kind) if kind else None, limit=limit
        )
        now = settled_balance(user.pk)
        shown = [_shown(line, user.pk, user.email, now) for line in lines]
        page = {"transactions": shown, "next_transaction_time": next_time}
        return Response(TransactionsSerializer(page).data)


class UsersHistoryView(APIView):
    """Everybody's history."""

    permission_classes = (IsAdminUser,)

    @extend_schema(
        tags=["admin-credits"],
        operation_id="list_users_transactions",
        summary="Tell what happened to everybody's balances",
        parameters=[UsersHistoryQuery, *page_parameters(default=20)],
        responses={200: UsersHistorySerializer, **error_responses(401, 403, 422)},
    )
    def get(self, request: Request) -> Response:
        """Each transfer by itself, newest first."""
        query = checked_query(UsersHistoryQuery, request)
        rows = Transfer.objects.filter(user_id__isnull=False).order_by("-id")
        if query.get("transaction_filter"):
            rows = rows.filter(kind=query["transaction_filter"])
        if query.get("search", "").strip():
            rows = rows.filter(user_id__in=_found(query["search"].strip()))
        page, pagination = Paging.of(request, default=20).cut(rows)
        answer = {"history": _with_people(page), "pagination": pagination}
        return Response(UsersHistorySerializer(answer).data)


class StatementView(APIView):
    """The caller's statements."""

    content_negotiation_class = Negotiation

    @extend_schema(
        tags=["credits"],
        operation_id="get_statement",
        summary="Get the statement of a month",
        parameters=[StatementQuery],
        responses={
            (200, "application/json"): StatementSerializer,
            (200, "text/csv"): OpenApiTypes.STR,
            **error_responses(401, 422),
        },
    )
    def get(self, request: Request) -> Download:
        """Every transfer, oldest first: the opening balance and all amounts add up to the closing balance."""
        query = checked_query(StatementQuery, request)
        month = _month(query.get("month"))
        write, media_type = {
            "csv": (as_csv, "text/csv; charset=utf-8"),
            "json": (as_json, "application/json"),
        }[query["format"]]
        content = write(cast(User, request.user).pk, month)
        return Download(content, name=f"credits-{month}.{query['format']}", media_type=media_type)


def _month(text: str | None) -> Month:
    if text is None:
        now = datetime.now(UTC)
        return Month(now.year, now.month)
    year, month = text.split("-")
    return Month(int(year), int(month))


def _found(search: str) -> list[UUID]:
    who = Q(email__icontains=search) | Q(name__icontains=search)
    users = list(User.objects.filter(who).order_by("pk").values_list("pk", flat=True)[:_MOST_FOUND])
    try:
        # Also that of somebody who is gone: their transfers stay.
        return [*users, UUID(search)]
    except ValueError:
        return users


def _with_people(page: list[Transfer]) -> list[dict[str, Any]]:
    admins = {row.metadata.get("admin_id") for row in page} - {None}
    ids = {str(row.user_id) for row in page} | admins
    emails = {str(pk): email for pk, email in User.objects.filter(pk__in=ids).values_list("pk", "email")}
    balances = dict(Account.objects.filter(user_id__in={row.user_id for row in page}).values_list("pk", "balance"))
    return [
        {
            **_shown(
                _line(row, balance),
                cast(UUID, row.user_id),
                emails.get(str(row.user_id)),
                balances.get(cast(UUID, row.user_id), 0),
            ),
            "admin_email": emails.get(row.metadata.get("admin_id", "")),
            "extra_data": json.encode(row.metadata).decode() if row.metadata else None,
        }
        for row, balance in transfers_with_balances(page)
    ]


def _line(row: Transfer, balance: int) -> Line:
    return Line(
        row.pk,
        Kind(row.kind),
        row.at,
        key=row.key,
        change=row.change,
        reason=row.reason,
        metadata=row.metadata,
        run_id=row.run_id,
        balance=balance,
    )


def _shown(line: Line, user_id: UUID, email: str | None, balance_now: int) -> dict[str, Any]:
    is_usage = line.kind is Kind.USAGE
    return {
        "transaction_key": line.key,
        "transaction_time": line.at,
        "transaction_type": line.kind.value,
        "amount": line.change // CREDIT,
        "amount_microcredits": line.change,
        "running_balance": line.balance // CREDIT,
        "running_balance_microcredits": line.balance,
        "current_balance": balance_now // CREDIT,
        "description": line.reason or None,
        "usage_graph_id": line.metadata.get("graph_id") if is_usage else None,
        "usage_execution_id": line.run_id,
        "usage_node_count": line.count if is_usage else 0,
        "usage_start_time": (line.began_at or line.at) if is_usage else None,
        "user_id": user_id,
        "user_email": email,
        "reason": None if is_usage else line.reason or None,
        "admin_email": None,
        "extra_data": None,
    }
