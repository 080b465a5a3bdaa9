"""What blocks cost, in the admin site; each change makes a new version of the list, for what starts from then on."""

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from credits.errors import shown
from credits.kinds import CREDIT, MOST_CREDITS
from credits.models import PriceEntry
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
        publish(_email(request), f"{'changed' if change else 'added'}: {obj}")

    def delete_model(self, request: HttpRequest, obj: PriceEntry) -> None:
        """Delete the price and publish the list."""
        super().delete_model(request, obj)
        publish(_email(request), f"deleted: {obj}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PriceEntry]) -> None:
        """Delete the prices and publish the list."""
        gone = ", ".join(map(str, queryset))
        super().delete_queryset(request, queryset)
        publish(_email(request), f"deleted: {gone}")


def _missing(block: str) -> str:
    return f"{block} (not installed)"


def _email(request: HttpRequest) -> str:
    return cast(User, request.user).email
