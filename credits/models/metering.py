"""What runs have set aside, and what operators want blocks to cost."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.db.models.lookups import Exact

from credits.errors import shown
from credits.kinds import MOST, PER


class Hold(models.Model):
    """Micro-credits that were taken out of a balance for a run, so that it can pay for what it begins.

    `amount` is what this run may still use, `spent` what it has used. The row of the first run of a family, whose
    `root_id` is its own, has in `pool` what any run of the family may still take for itself. The family uses at most
    `cap`, unless that is null: `taken` is what its runs have used or hold. `key_id` is the API key with a budget that
    the family was started with: all that such holds have, and what they have spent, is taken from that budget.

    It is released once, when the run ends; one past `expires_at` is emptied and may be filled again.
    """

    run_id = models.UUIDField(primary_key=True)
    root_id = models.UUIDField()
    user_id = models.UUIDField()
    amount = models.BigIntegerField(db_default=0)
    pool = models.BigIntegerField(db_default=0)
    spent = models.BigIntegerField(db_default=0)
    taken = models.BigIntegerField(db_default=0)
    cap = models.BigIntegerField(null=True, blank=True)
    key_id = models.UUIDField(null=True, blank=True)
    placed_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0, pool__gte=0, spent__gte=0), name="holds_hold_something"),
            models.CheckConstraint(
                condition=Q(released_at=None) | Q(amount=0, pool=0), name="released_holds_are_empty"
            ),
            models.CheckConstraint(condition=Q(cap=None) | Q(taken__lte=F("cap")), name="no_family_exceeds_its_budget"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="holds_to_empty", condition=Q(released_at=None)),
            models.Index(fields=["user_id"], name="open_holds_of_a_user", condition=Q(released_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}: {shown(self.amount)} credits"


class PriceEntry(models.Model):
    """What an operator wants a use of a block to cost; the first that matches, by `position`, counts.

    `block` is the id of a block, or `provider:<name>` for all blocks of a provider that have no prices of their own.
    The entries of a block replace those that its code declares. `amount` is in micro-credits for each run, second,
    byte, token or item; `match` must be a subset of the block's inputs.
    """

    block = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField(default=0)
    amount = models.BigIntegerField()
    per = models.CharField(max_length=6, choices=[(per, per) for per in PER], default="run")
    match = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = "price"
        constraints = [
            models.UniqueConstraint(fields=["block", "position"], name="one_price_per_place"),
            models.CheckConstraint(condition=Q(amount__gte=0, amount__lte=MOST), name="prices_can_be_paid"),
            models.CheckConstraint(
                condition=Exact(
                    Func(F("match"), function="jsonb_typeof", output_field=models.TextField()), Value("object")
                ),
                name="prices_match_pins_by_name",
            ),
        ]

    def __str__(self) -> str:
        return f"{shown(self.amount)} credits per {self.per} of {self.block}"

    def clean(self) -> None:
        """Nothing in `match` is an empty filter; raises `ValidationError` for what is no filter."""
        if self.match in (None, ""):
            self.match = {}
        if not isinstance(self.match, dict):
            raise ValidationError(
                {"match": 'Give a JSON object of inputs and their values, such as {"model": "large"}.'}
            )


class PriceList(models.Model):
    """All prices that held at one time; runs keep the list that they began with. Never changed.

    `prices` are those that operators had set, for each block the entries, in their order, as
    {"amount", "per", "match"}; `declared`, likewise, those in the code of blocks, for all blocks that were known.
    """

    prices = models.JSONField()
    declared = models.JSONField(db_default={})
    made_by = models.CharField(max_length=254)
    change = models.TextField()
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "price list"

    def __str__(self) -> str:
        return f"version {self.pk}: {self.change}"
