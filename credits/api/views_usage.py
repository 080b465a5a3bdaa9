"""The endpoint of what credits were used for."""

from typing import Any, cast

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import checked_query, error_responses
from core.choices import OneOfField
from credits.kinds import CREDIT
from credits.usage import LONGEST_DAYS, MOST_ITEMS, By, Period, usage_of

USED_BY = [by.value for by in By]
_DAY = f"A day of UTC, such as 2026-01-31; at most {LONGEST_DAYS} days in all."


class UsageQuery(serializers.Serializer[Any]):
    """Which use, and what to make sums for."""

    to = serializers.DateField(required=False)
    by = OneOfField(USED_BY, default=By.DAY.value)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields, and `from`, which cannot be the name of a variable."""
        return {"from": serializers.DateField(required=False), **super().get_fields()}


class UsedSerializer(serializers.Serializer[Any]):
    """What was used for one thing."""

    name = serializers.CharField(allow_blank=True, help_text="The day, id or model; empty for what belongs to none.")
    amount = serializers.IntegerField(help_text="Whole credits, rounded up.")
    amount_microcredits = serializers.IntegerField(help_text="Exactly.")
    count = serializers.IntegerField(help_text="How many charges that were.")


class CreditUsageSerializer(serializers.Serializer[Any]):
    """What credits were used for."""

    by = serializers.ChoiceField(USED_BY)
    total = serializers.IntegerField(help_text="Whole credits, rounded up.")
    total_microcredits = serializers.IntegerField(help_text="Exactly: the sum of all, also of those beyond the list.")
    items = UsedSerializer(many=True, help_text=f"Days in their order, others by amount; at most {MOST_ITEMS}.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields, and `from`, which cannot be the name of a variable."""
        return {"from": serializers.DateField(), "to": serializers.DateField(), **super().get_fields()}


class UsageView(APIView):
    """What the caller used credits for."""

    @extend_schema(
        tags=["credits"],
        operation_id="get_usage",
        summary="Tell what you used credits for",
        parameters=[
            OpenApiParameter("from", OpenApiTypes.DATE, description=f"{_DAY} Absent: 29 days before `to`."),
            OpenApiParameter("to", OpenApiTypes.DATE, description=f"{_DAY} Absent: today."),
            OpenApiParameter("by", str, enum=USED_BY, default=By.DAY.value),
        ],
        responses={200: CreditUsageSerializer, **error_responses(400, 401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Sums by day, graph, block, model or API key."""
        query = checked_query(UsageQuery, request)
        period, by = Period.of(query.get("from"), query.get("to")), By(query["by"])
        total, things = usage_of(cast(User, request.user).pk, period, by)
        answer = {
            "from": period.first,
            "to": period.last,
            "by": by.value,
            "total": _whole(total.amount),
            "total_microcredits": total.amount,
            "items": [
                {
                    "name": each.name,
                    "amount": _whole(each.amount),
                    "amount_microcredits": each.amount,
                    "count": each.count,
                }
                for each in things
            ],
        }
        return Response(CreditUsageSerializer(answer).data)


def _whole(amount: int) -> int:
    return -(-amount // CREDIT)
