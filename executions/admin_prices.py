"""What blocks cost, in the admin site; each change makes a new version of the list, for what starts from then on."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.models import User
from core.admin import ReadOnlyAdmin
from credits.errors import shown
from credits.kinds import CREDIT, MOST_CREDITS
from credits.models import PriceEntry, PriceList
from credits.price_lists import publish
from executions.prices import priceable


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A price in credits, for a block or a provider that there is."""

    block = forms.ChoiceField(help_text="A provider's price is for all of its blocks that have none of their own.")
    credits = forms.DecimalField(
        min_value=0, max_value=MOST_CREDITS, decimal_places=6, help_text="For each run, second, byte, token or item."
    )

    class Meta:
        model = PriceEntry
        fields = ("block", "position", "credits", "per", "match")
        help_texts = {
            "position": "The first price of a block whose filter fits counts, from 0 on.",
            "match": 'A part of the block\'s inputs, such as {"model": "large"}; {} fits all.',
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = priceable()
        if self.instance.block:
            names.setdefault(self.instance.block, _missing(self.instance.block))
        cast(forms.ChoiceField, self.fields["block"]).choices = list(names.items())
        if self.instance.amount is not None:
            self.fields["credits"].initial = Decimal(self.instance.amount) / CREDIT

    def clean(self) -> dict[str, Any]:
        """Put the credits where the row has them."""
        data = super().clean() or self.cleaned_data
        if data.get("credits") is not None:
            self.instance.amount = int(data["credits"] * CREDIT)
        return data


@admin.register(PriceEntry)
class PriceEntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Prices as operators want them; those of a block replace what its code declares."""

    form = PriceForm
    list_display = ("named", "position", "credits", "per", "match")
    list_filter = ("per",)
    search_fields = ("block",)
    ordering = ("block", "position")

    @admin.display(description="block", ordering="block")
    def named(self, entry: PriceEntry) -> str:
        """The block by its name."""
        return priceable().get(entry.block) or _missing(entry.block)

    @admin.display(description="credits", ordering="amount")
    def credits(self, entry: PriceEntry) -> str:
        """The price in credits."""
        return shown(entry.amount)

    def save_model(self, request: HttpRequest, obj: PriceEntry, form: Any, change: bool) -> None:
        """Save the price and publish the list."""
        super().save_model(request, obj, form, change)
        publish(_email(request), f"{'changed' if change else 'added'}: {_told(obj)}")

    def delete_model(self, request: HttpRequest, obj: PriceEntry) -> None:
        """Delete the price and publish the list."""
        super().delete_model(request, obj)
        publish(_email(request), f"deleted: {_told(obj)}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PriceEntry]) -> None:
        """Delete the prices and publish the list."""
        gone = ", ".join(map(_told, queryset))
        super().delete_queryset(request, queryset)
        publish(_email(request), f"deleted: {gone}")


@admin.register(PriceList)
class PriceListAdmin(ReadOnlyAdmin):
    """The versions of the price list: who changed what, and when."""

    list_display = ("id", "made_at", "made_by", "change")
    search_fields = ("made_by", "change")
    fields = ("made_at", "made_by", "change", "set_by_operators", "declared_in_code")
    readonly_fields = fields

    @admin.display(description="set by operators")
    def set_by_operators(self, version: PriceList) -> SafeString:
        """What counts before all else."""
        return _listed(version.prices)

    @admin.display(description="declared in code")
    def declared_in_code(self, version: PriceList) -> SafeString:
        """What counts for the other blocks."""
        return _listed(version.declared)


def _listed(prices: Mapping[str, Sequence[Mapping[str, Any]]]) -> SafeString:
    names = priceable()
    lines = sorted(
        (names.get(block) or _missing(block), ", ".join(map(_in_words, entries)))
        for block, entries in prices.items()
        if entries
    )
    free = sum(not entries for entries in prices.values())
    shown_lines = format_html_join("", "<div>{}: {}</div>", lines)
    return format_html("{}{}", shown_lines, f"{free} blocks are free" if free else "" if lines else "nothing")


def _in_words(entry: Mapping[str, Any]) -> str:
    where = f" where {json.dumps(entry['match'], ensure_ascii=False)}" if entry["match"] else ""
    return f"{shown(entry['amount'])} credits per {entry['per']}{where}"


def _told(entry: PriceEntry) -> str:
    """The price by the name of its block, which outlasts the block in the list of changes."""
    name = priceable().get(entry.block) or _missing(entry.block)
    return f"{shown(entry.amount)} credits per {entry.per} of {name}"


def _missing(block: str) -> str:
    return f"{block} (not installed)"


def _email(request: HttpRequest) -> str:
    return cast(User, request.user).email
