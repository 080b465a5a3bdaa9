"""Who people are, and the keys that programs show in their place."""

from datetime import date, datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from core.models import TimeStamped
from core.units import CREDIT, MOST_CREDITS


class Role(models.TextChoices):
    """What a person may do: use the platform, or also operate it."""

    USER = "user"
    ADMIN = "admin"


class UserManager(BaseUserManager["User"]):
    """Makes users and finds them by email in any case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save a new user; without a password nobody can log in as them.

        Raises `ValueError` when `email` is empty and `IntegrityError` when somebody has it already.
        """
        if not email:
            raise ValueError("A user needs an email address")
        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save a new user with the role admin."""
        return self.create_user(email, password, **{**fields, "role": Role.ADMIN})

    def locked(self, user_id: UUID) -> "User | None":
        """This user, if active, whom nobody else changes until the transaction ends."""
        return self.select_for_update().filter(pk=user_id, is_active=True).first()

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user with this email, whatever its case."""
        return self.get(email=(username or "").lower())

    def lock(self, user_id: UUID) -> None:
        """Let nobody else lock this user until the transaction ends; rows that name the user can still be added."""
        list(self.select_for_update(no_key=True).filter(pk=user_id).values_list("pk"))


class User(AbstractBaseUser, TimeStamped):
    """A person who logs in with an email address, stored in lower case so that its case never matters.

    `role` is the only source of rights: Django's staff and superuser flags follow it.
    """

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True, default="")
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.USER)
    is_active = models.BooleanField(default=True)
    email_verified = models.BooleanField(default=True, help_text="Without it the user cannot log in with a password.")
    time_zone = models.CharField(max_length=64, default="not-set")

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="email_is_lower_case"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="role_is_user_or_admin"),
        ]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; with another password, set here or in the admin site, all logins end."""
        # Django keeps the password here until it is saved, but not when it only hashes the same one anew.
        is_new_password = getattr(self, "_password", None) is not None and not self._state.adding
        super().save(*args, **kwargs)
        if is_new_password:
            self.logins.end(timezone.now(), Ending.PASSWORD_CHANGED)

    def clean(self) -> None:
        """Bring the email into the form it is stored in."""
        super().clean()
        self.email = self.email.lower()

    @property
    def is_staff(self) -> bool:
        """Whether the admin site lets this user in."""
        return self.role == Role.ADMIN

    @property
    def is_superuser(self) -> bool:
        """Whether this user has every permission."""
        return self.role == Role.ADMIN

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Whether the user is an active admin; there are no finer permissions."""
        return self.is_active and self.is_superuser

    def has_perms(self, perm_list: list[str], obj: object = None) -> bool:
        """As `has_perm`, for several permissions."""
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        """Whether the admin site shows this user an app."""
        return self.is_active and self.is_superuser


class Impersonation(models.Model):
    """That an administrator acted as somebody else in one request; it outlives both of them."""

    admin = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    admin_email = models.CharField(max_length=254)
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    user_email = models.CharField(max_length=254)
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    method = models.CharField(max_length=20)
    path = models.CharField(max_length=2000)

    def __str__(self) -> str:
        return f"{self.admin_email} as {self.user_email}: {self.method} {self.path}"


class Notice(models.TextChoices):
    """What a user may be told about by mail; named as on the wire."""

    AGENT_RUN = "AGENT_RUN"
    ZERO_BALANCE = "ZERO_BALANCE"
    LOW_BALANCE = "LOW_BALANCE"
    BLOCK_EXECUTION_FAILED = "BLOCK_EXECUTION_FAILED"
    CONTINUOUS_AGENT_ERROR = "CONTINUOUS_AGENT_ERROR"
    DAILY_SUMMARY = "DAILY_SUMMARY"
    WEEKLY_SUMMARY = "WEEKLY_SUMMARY"
    MONTHLY_SUMMARY = "MONTHLY_SUMMARY"
    AGENT_APPROVED = "AGENT_APPROVED"
    AGENT_REJECTED = "AGENT_REJECTED"


class PreferencesQuerySet(models.QuerySet["Preferences"]):
    """Questions about preferences."""

    def locked(self, user: User) -> "Preferences":
        """Those of this user, which nobody else changes until the transaction ends."""
        return self.select_for_update().get(user=user)


class Preferences(TimeStamped):
    """What a user does not want to be told, and how many mails a day are enough; without a row, all of it."""

    user = models.OneToOneField(User, models.CASCADE, related_name="preferences")
    unwanted = ArrayField(models.CharField(max_length=30, choices=Notice.choices), default=list, blank=True)
    daily_limit = models.PositiveIntegerField(default=3)
    mails_sent = models.PositiveIntegerField(db_default=0, help_text="Those that count, on the day mailed_on of UTC.")
    mailed_on = models.DateField(null=True, blank=True)

    objects = PreferencesQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "preferences"

    def mails_on(self, day: date) -> int:
        """How many mails that count were sent on a day, if it is the last one on which any was."""
        return self.mails_sent if self.mailed_on == day else 0


class ApiKeyPermission(models.TextChoices):
    """What a program with a key may do; named as on the wire."""

    IDENTITY = "IDENTITY"
    EXECUTE_GRAPH = "EXECUTE_GRAPH"
    READ_GRAPH = "READ_GRAPH"
    EXECUTE_BLOCK = "EXECUTE_BLOCK"
    READ_BLOCK = "READ_BLOCK"
    READ_STORE = "READ_STORE"
    USE_TOOLS = "USE_TOOLS"
    MANAGE_INTEGRATIONS = "MANAGE_INTEGRATIONS"
    READ_INTEGRATIONS = "READ_INTEGRATIONS"
    DELETE_INTEGRATIONS = "DELETE_INTEGRATIONS"


class ApiKeyStatus(models.TextChoices):
    """Whether a key is accepted; one that is revoked never is again."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Questions about API keys."""

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """The keys of `user`, revoked ones too."""
        return self.filter(user=user.pk)

    def locked(self) -> Self:
        """The same rows, locked until the transaction ends."""
        return self.select_for_update(of=("self",))

    def not_used_since(self, time: datetime) -> Self:
        """The keys of which no use at or after `time` is written down."""
        return self.exclude(last_used_at__gte=time)


class ApiKey(TimeStamped):
    """A key of one user: `public_id` finds it, and only a hash tells whether who shows it knows the secret.

    `head` and `tail` are the first and last characters of the key, by which its owner recognises it. What its runs use
    together is at most `max_credits`, unless that is null: `credits_taken` is what they have used or set aside, in
    micro-credits, those that began while there was a limit.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    public_id = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    head = models.CharField(max_length=8)
    tail = models.CharField(max_length=8)
    status = models.CharField(max_length=9, choices=ApiKeyStatus.choices, default=ApiKeyStatus.ACTIVE)
    permissions = ArrayField(models.CharField(max_length=32, choices=ApiKeyPermission.choices))
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    max_credits = models.BigIntegerField(null=True, blank=True)
    credits_taken = models.BigIntegerField(db_default=0)

    objects: ClassVar[models.Manager["ApiKey"]] = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(permissions__contained_by=ApiKeyPermission.values), name="permissions_are_known"
            ),
            models.CheckConstraint(condition=models.Q(status__in=ApiKeyStatus.values), name="key_status_is_known"),
            models.CheckConstraint(
                condition=models.Q(status=ApiKeyStatus.REVOKED, revoked_at__isnull=False)
                | (~models.Q(status=ApiKeyStatus.REVOKED) & models.Q(revoked_at=None)),
                name="revoked_keys_say_when",
            ),
            models.CheckConstraint(
                condition=models.Q(max_credits=None) | models.Q(max_credits__range=(1, MOST_CREDITS)),
                name="budgets_of_keys_can_be_counted",
            ),
            models.CheckConstraint(
                condition=models.Q(max_credits=None) | models.Q(credits_taken__lte=models.F("max_credits") * CREDIT),
                name="no_key_exceeds_its_budget",
            ),
            models.CheckConstraint(condition=models.Q(credits_taken__gte=0), name="keys_take_no_less_than_nothing"),
        ]

    def __str__(self) -> str:
        return f"{self.head}…{self.tail}"

    @property
    def credits_used(self) -> float | None:
        """The credits that its runs have used or set aside; None without a limit."""
        return None if self.max_credits is None else self.credits_taken / CREDIT

    @property
    def credits_left(self) -> float | None:
        """The credits that its runs may still take; None without a limit."""
        return None if self.max_credits is None else self.max_credits - self.credits_taken / CREDIT


class Ending(models.TextChoices):
    """Why a login ended before its time."""

    LOGGED_OUT = "logged_out"
    TOKEN_REUSED = "token_reused"  # noqa: S105  a reason
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a reason


class LoginQuerySet(models.QuerySet["Login"]):
    """Questions about logins."""

    def locked(self, login_id: UUID) -> "Login | None":
        """This login, which nobody else changes until the transaction ends."""
        return self.select_for_update().filter(pk=login_id).first()

    def end(self, now: datetime, because: Ending) -> int:
        """Make all tokens of those that have not ended worthless; returns how many there were."""
        return self.filter(ended_at=None).update(ended_at=now, ended_because=because)


class Login(TimeStamped):
    """One login and all tokens that came of it: each refresh is a `turn`, and only the newest turn can be refreshed.

    Nothing here opens anything: the tokens are signed and kept by the client alone.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="logins")
    turn = models.PositiveIntegerField(default=0)
    turned_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=20, choices=Ending.choices, blank=True, default="")

    objects = LoginQuerySet.as_manager()


class Identity(TimeStamped):
    """Who a user is at an outside identity provider: its tokens with this `subject` are the user's."""

    user = models.ForeignKey(User, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)

    class Meta:
        verbose_name_plural = "identities"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="identity_belongs_to_one_user")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class TicketQuerySet(models.QuerySet["Ticket"]):
    """Questions about tickets."""

    def expired(self, now: datetime) -> Self:
        """Those that open nothing any more."""
        return self.filter(expires_at__lte=now)


class Ticket(models.Model):
    """What opens one socket or stream in place of an access token, once and soon; only its hash is kept.

    What it opens belongs to `user` until `session_until`, or until the `login` ends that it came of; there is none of a
    session with an identity provider.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    login = models.ForeignKey(Login, models.CASCADE, null=True, related_name="+")
    session_until = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects = TicketQuerySet.as_manager()
