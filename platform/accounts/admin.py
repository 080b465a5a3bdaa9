"""People and their API keys in the admin site."""

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import keys
from accounts.models import ApiKey, ApiKeyStatus, Identity, Impersonation, Login, User
from core.admin import ReadOnly

# Rights come from the role alone, so a group would promise what it does not keep.
admin.site.unregister(Group)


class AddUserForm(AdminUserCreationForm):  # type: ignore[type-arg]
    """Asks for the email and the password of a new user."""

    class Meta:
        model = User
        fields = ("email", "name", "role")

    def clean_email(self) -> str:
        """The email as it is stored, so that one in another case is found taken."""
        return str(self.cleaned_data["email"]).lower()


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Add people, switch them off, give them a role or a new password."""

    add_form = AddUserForm
    list_display = ("email", "name", "role", "is_active", "last_login", "created_at")
    list_filter = ("role", "is_active")
    search_fields = ("email", "name", "id")
    ordering = ("email",)
    filter_horizontal: ClassVar[tuple[str, ...]] = ()
    readonly_fields = ("id", "last_login", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("id", "email", "name", "time_zone")}),
        ("Access", {"fields": ("role", "is_active", "email_verified", "password")}),
        ("Times", {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (
            None,
            {"classes": ("wide",), "fields": ("email", "name", "role", "usable_password", "password1", "password2")},
        ),
    )


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """See who has which keys, and revoke them."""

    list_display = ("__str__", "name", "user", "status", "expires_at", "last_used_at", "created_at")
    list_filter = ("status",)
    list_select_related = ("user",)
    search_fields = ("user__email", "name", "public_id", "head", "tail")
    search_help_text = "Part of an email address, of the key's name, or of the key but for its secret"
    ordering = ("-pk",)
    actions = ("revoke",)
    fields = (
        "id", "user", "name", "description", "head", "tail", "status", "permissions", "expires_at", "last_used_at",
        "revoked_at", "created_at", "updated_at",
    )  # fmt: skip

    @admin.action(description="Revoke the selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Refuse the selected keys from their next request on, for good."""
        chosen = queryset.exclude(status=ApiKeyStatus.REVOKED).select_related("user")
        revoked = [keys.revoke(key.user, key.pk) for key in chosen]
        self.message_user(request, f"{len(revoked)} API keys are revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)


@admin.register(Login)
class LoginAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Who is logged in, and why others no longer are."""

    list_display = ("user", "created_at", "turned_at", "turn", "expires_at", "ended_at", "ended_because")
    list_filter = ("ended_because",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-created_at", "id")


@admin.register(Impersonation)
class ImpersonationAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Which administrator acted as whom, when, and to do what."""

    list_display = ("at", "admin_email", "user_email", "method", "path")
    search_fields = ("admin_email", "user_email", "path")
    date_hierarchy = "at"
    ordering = ("-at", "-id")


@admin.register(Identity)
class IdentityAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Whose tokens of an identity provider are whose; add one here to lead an identity to an account."""

    list_display = ("subject", "issuer", "user", "created_at")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    search_fields = ("subject", "user__email")
    ordering = ("issuer", "subject")
