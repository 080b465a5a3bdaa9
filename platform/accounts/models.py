"""Who people are."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower

from core.models import TimeStamped


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

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user with this email, whatever its case."""
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, TimeStamped):
    """A person who logs in with an email address, stored in lower case so that its case never matters.

    `role` is the only source of rights: Django's staff and superuser flags follow it.
    """

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True, default="")
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.USER)
    is_active = models.BooleanField(default=True)
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
