"""Webhooks and their inbox in the admin site: to look at. Secrets are not shown."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from core.admin import ReadOnlyAdmin, link_to
from integrations.models import Delivery, Webhook

_SHOWN = 4000


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    """See who is told of what."""

    list_display = ("id", "user", "provider", "webhook_type", "resource", "created_at")
    list_filter = ("provider", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "=id")
    search_help_text = "The id of a webhook, or part of an email address"
    fields = (
        "id", "user", "provider", "webhook_type", "resource", "events", "config", "url", "credentials_id",
        "provider_webhook_id", "previous_secret_until", "created_at", "updated_at",
    )  # fmt: skip
    readonly_fields = fields


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """See what came in and what it led to; have it taken up once more, which starts only runs that are not there."""

    list_display = ("delivery_id", "event", "webhook", "received_at", "taken_up_at", "shown_outcomes")
    list_filter = (("taken_up_at", admin.EmptyFieldListFilter), "webhook__provider", "received_at")
    list_select_related = ("webhook",)
    ordering = ("-received_at", "-pk")
    search_fields = ("webhook__user__email", "=webhook__id", "=delivery_id")
    search_help_text = "The id of a webhook or a delivery, or part of an email address"
    actions = ("take_up_again",)
    fields = ("delivery_id", "event", "webhook", "received_at", "taken_up_at", "shown_outcomes", "shown_payload")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """The deliveries without what may be long."""
        deliveries: QuerySet[Delivery] = super().get_queryset(request)
        return deliveries.defer("payload")

    @admin.action(description="Take the selected deliveries up again", permissions=["take_up"])
    def take_up_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Those whose runs could not start are tried again within seconds; started runs stay the only ones."""
        count = queryset.update(taken_up_at=None)
        self.message_user(request, f"{count} deliveries will be taken up again.")

    def has_take_up_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    @admin.display(description="what it led to")
    def shown_outcomes(self, delivery: Delivery) -> SafeString | str:
        """The run of each preset, or the reason why there is none."""
        lines = (
            (link_to("library_preset", each["preset_id"], each["preset_id"]), _led_to(each))
            for each in delivery.outcomes
        )
        return format_html_join("", "<div>preset {}: {}</div>", lines) or "nothing"

    @admin.display(description="payload")
    def shown_payload(self, delivery: Delivery) -> str:
        """What was sent, cut when it is long."""
        return bytes(delivery.payload)[:_SHOWN].decode(errors="replace")


def _led_to(outcome: dict[str, Any]) -> SafeString | str:
    run_id = outcome["run_id"]
    return link_to("executions_graphexecution", run_id, f"run {run_id}") if run_id else outcome["reason"]
