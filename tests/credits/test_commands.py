"""What whoever runs the platform does about credits on the command line."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.models import User
from credits.balances import balance_of
from credits.kinds import CREDIT
from credits.models import PriceEntry, PriceList, Transfer
from graphs.blocks.registry import BLOCKS
from tests.drawing import block_id


def said(*command: str) -> str:
    """What a command prints."""
    call_command(*command, stdout=(out := StringIO()))
    return out.getvalue().strip()


@pytest.mark.usefixtures("paid")
def test_credits_are_given_with_a_reason_by_an_administrator(user: User, admin: User) -> None:
    given = "give_credits", "--operator", admin.email.upper()
    assert said(*given, user.email, "50", "--reason", "Welcome") == f"{user.email} has 50 credits now"
    assert said(*given, user.email.upper(), "7", "--reason", "Again") == f"{user.email} has 57 credits now"
    assert balance_of(user.pk) == 57 * CREDIT
    assert list(Transfer.objects.order_by("pk").values_list("kind", "reason", "metadata__admin_id")) == [
        ("GRANT", "Welcome", str(admin.pk)),
        ("GRANT", "Again", str(admin.pk)),
    ]


@pytest.mark.usefixtures("paid")
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("nobody@example.com", "5", "--reason", "x"), "Nobody has the email nobody@example.com"),
        (
            ("", "-5", "--reason", "x"),
            "An amount is above 0; -5000000 is not. One credit is 1,000,000 micro-credits.",
        ),
        (("", "0", "--reason", "x"), "An amount is above 0; 0 is not. One credit is 1,000,000 micro-credits."),
        (("", "5", "--reason", "  "), "A change of a balance needs a reason. Say in the comments why."),
        (("", "5"), "Error: the following arguments are required: --reason"),
        (("", "5.5", "--reason", "x"), "Error: argument credits: invalid int value: '5.5'"),
    ],
)
def test_what_cannot_be_given_is_refused_and_nothing_moves(
    user: User, admin: User, given: tuple[str, ...], why: str
) -> None:
    email, amount, *rest = given
    with pytest.raises(CommandError) as refused:
        call_command("give_credits", *rest, "--operator", admin.email, "--", email or user.email, amount)
    assert str(refused.value) == why
    assert not Transfer.objects.exists()


@pytest.mark.usefixtures("paid")
def test_only_administrators_give_credits(user: User) -> None:
    given = "give_credits", user.email, "5", "--reason", "x"
    with pytest.raises(CommandError, match=f"{user.email} is no administrator: name one with --operator"):
        call_command(*given, "--operator", user.email)
    with pytest.raises(CommandError, match=r"Nobody has the email nobody@example\.com"):
        call_command(*given, "--operator", "nobody@example.com")
    with pytest.raises(CommandError, match="the following arguments are required: --operator"):
        call_command(*given)
    assert not Transfer.objects.exists()


def test_no_credits_are_given_where_there_are_none(user: User, admin: User, settings: Settings) -> None:
    settings.CREDITS = "disabled"
    with pytest.raises(CommandError, match="An operator sets TASKLOOM_CREDITS to monthly or paid"):
        call_command("give_credits", user.email, "5", "--operator", admin.email, "--reason", "x")
    assert not Transfer.objects.exists()


@pytest.mark.django_db
def test_a_price_replaces_those_of_a_block_and_makes_a_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_id("StoreValue")
    monkeypatch.setattr(type(BLOCKS.get(block)), "provider", "openai")
    said("set_price", "StoreValueBlock", "2")
    said("set_price", block, "0.5", "--per", "second")
    said("set_price", "provider:openai", "1")
    assert list(PriceEntry.objects.order_by("amount").values_list("block", "amount", "per")) == [
        (block, 500_000, "second"),
        ("provider:openai", 1_000_000, "run"),
    ]
    said("set_price", "StoreValueBlock")
    assert list(PriceEntry.objects.values_list("block", flat=True)) == ["provider:openai"]
    assert list(PriceList.objects.order_by("-pk").values_list("change", flat=True)[:2]) == [
        "deleted: StoreValueBlock",
        "set: 1 credits per run of provider:openai",
    ]
    with pytest.raises(CommandError, match="There is no block 'StoreValue'; did you mean StoreValueBlock"):
        call_command("set_price", "StoreValue", "1")
    for given in (("provider:opnai", "1"), ("provider:opnai",)):
        with pytest.raises(
            CommandError, match=r"There are no blocks of provider:opnai; there are some of .*provider:openai"
        ):
            call_command("set_price", *given)
    assert [sorted(prices) for prices in PriceList.objects.order_by("pk").values_list("prices", flat=True)] == [
        [],
        [block],
        [block],
        sorted([block, "provider:openai"]),
        ["provider:openai"],
    ]
    # What is not installed any more has no price to be set, but one that can be taken off.
    PriceEntry.objects.update(block="provider:gone")
    said("set_price", "provider:gone")
    assert not PriceEntry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("Nonsense", "2"), "There is no block 'Nonsense'; `manage.py list_blocks` names them all"),
        (("StoreValueBlock", "much"), "Error: argument credits: 'much' is no number of credits"),
        (
            ("StoreValueBlock", "0.0000001"),
            "Error: argument credits: a price is 0 to 2147483647 credits in steps of a millionth, not 0.0000001",
        ),
        (
            ("StoreValueBlock", "NaN"),
            "Error: argument credits: a price is 0 to 2147483647 credits in steps of a millionth, not NaN",
        ),
    ],
)
def test_what_is_no_price_is_refused_and_nothing_changes(given: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("set_price", *given)
    assert str(refused.value) == why
    assert PriceList.objects.get().made_by == "migrate"
