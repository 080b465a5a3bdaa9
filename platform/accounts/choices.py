"""What people decide for themselves: their address, their time zone, and what they are told."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from zoneinfo import available_timezones

from django.db import IntegrityError, transaction

from accounts import mails, queue
from accounts.errors import LinkRefused
from accounts.models import Notice, Preferences, User


@cache
def time_zones() -> frozenset[str]:
    """The IANA names that a user may choose from."""
    return frozenset(available_timezones())


def set_time_zone(user: User, name: str) -> None:
    """Let the user live in this time zone, one of `time_zones`."""
    user.time_zone = name
    user.save(update_fields=["time_zone", "updated_at"])


def ask_for_email(user: User, email: str) -> None:
    """Send a link to the address that the user wants to have; it is theirs once the link was opened.

    Whether somebody else has it is not told.
    """
    if email.lower() != user.email:
        queue.mail(mails.Kind.NEW_ADDRESS, email.lower(), user.pk)


def confirm_email(token: str) -> None:
    """Give the user the address that the token of a link was sent to; raises `LinkRefused`."""
    user_id, new = mails.new_address_in(token)
    try:
        with transaction.atomic():
            user = User.objects.locked(user_id)
            if user is None or not mails.is_from(token, user.email):
                raise LinkRefused
            user.email, user.email_verified = new, True
            user.save(update_fields=["email", "email_verified", "updated_at"])
    except IntegrityError:
        raise LinkRefused from None


def preferences_of(user: User) -> Preferences:
    """What the user wants; an unsaved row as long as nothing was chosen."""
    return Preferences.objects.filter(user=user).first() or Preferences(user=user)


def set_preferences(user: User, wanted: Mapping[Notice, bool], daily_limit: int) -> Preferences:
    """Change what the user is told; kinds that are not named stay as they are, and a limit of 0 changes none."""
    with transaction.atomic():
        Preferences.objects.bulk_create([Preferences(user=user)], ignore_conflicts=True)
        preferences = Preferences.objects.locked(user)
        unwanted = set(preferences.unwanted) - set(wanted) | {kind for kind, yes in wanted.items() if not yes}
        preferences.unwanted = sorted(unwanted)
        preferences.daily_limit = daily_limit or preferences.daily_limit
        preferences.save()
    return preferences


def wants(user: User, kind: Notice) -> bool:
    """Whether the user wants mails of this kind."""
    return kind.value not in preferences_of(user).unwanted


def count_mail(user: User, now: datetime) -> bool:
    """Count a mail that is about to be sent; false, and not counted, when there are enough for this day of UTC."""
    today = now.astimezone(UTC).date()
    with transaction.atomic():
        Preferences.objects.bulk_create([Preferences(user=user)], ignore_conflicts=True)
        preferences = Preferences.objects.locked(user)
        sent = preferences.mails_on(today)
        if sent >= preferences.daily_limit:
            return False
        preferences.mails_sent, preferences.mailed_on = sent + 1, today
        preferences.save()
    return True
