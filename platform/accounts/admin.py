"""People and their API keys in the admin site."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import IntegerField, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts import choices, keys
from accounts.errors import BudgetTaken
from accounts.models import ApiKey, ApiKeyStatus, Identity, Impersonation, Login, Role, User
from core.admin import ReadOnlyAdmin
from core.errors import DomainError
from core.units import MOST_CREDITS

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


class ChangeUserForm(UserChangeForm):  # type: ignore[type-arg]
    """Changes a person; `acting` is who does it."""

    acting: User | None = None

    def clean_time_zone(self) -> str:
        """One that schedules can be in, or none yet."""
        name = str(self.cleaned_data["time_zone"])
        if name != "not-set" and name not in choices.time_zones():
            raise ValidationError("This is no IANA time zone, such as Europe/Zurich, nor not-set.")
        return name

    def clean(self) -> dict[str, Any]:
        """Nobody locks themselves out."""
        data = super().clean() or self.cleaned_data
        if self.instance == self.acting and not (data.get("is_active") and data.get("role") == Role.ADMIN):
            raise ValidationError("This is you: have another administrator switch you off, or take the role from you.")
        return data


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Add people, switch them off, give them a role or a new password."""

    form = ChangeUserForm
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

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form, which knows who fills it in."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if issubclass(form, ChangeUserForm):
            form.acting = cast(User, request.user)
        return form


class ApiKeyForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Asks for the budget of a key."""

    max_credits = IntegerField(
        min_value=1,
        max_value=MOST_CREDITS,
        required=False,
        help_text="The most that all runs started with the key may use together; empty: no limit.",
    )

    class Meta:
        model = ApiKey
        fields = ("max_credits",)

    def clean_max_credits(self) -> int | None:
        """Not less than what the key's runs have taken."""
        max_credits: int | None = self.cleaned_data["max_credits"]
        try:
            keys.check_budget(self.instance, max_credits)
        except BudgetTaken as error:
            raise ValidationError(error.message) from None
        return max_credits


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """See who has which keys and what of their budgets is left, set other budgets, and revoke keys."""

    form = ApiKeyForm
    list_display = (
        "__str__", "name", "user", "status", "max_credits", "credits_left", "expires_at", "last_used_at", "created_at",
    )  # fmt: skip
    list_filter = ("status",)
    list_select_related = ("user",)
    search_fields = ("user__email", "name", "public_id", "head", "tail")
    search_help_text = "Part of an email address, of the key's name, or of the key but for its secret"
    actions = ("revoke",)
    fields = (
        "id", "user", "name", "description", "head", "tail", "status", "permissions", "max_credits", "credits_used",
        "credits_left", "expires_at", "last_used_at", "revoked_at", "created_at", "updated_at",
    )  # fmt: skip
    readonly_fields = tuple(field for field in fields if field != "max_credits")

    @admin.action(description="Revoke the selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Refuse the selected keys from their next request on, for good."""
        chosen = queryset.exclude(status=ApiKeyStatus.REVOKED).select_related("user")
        revoked = [keys.revoke(key.user, key.pk) for key in chosen]
        self.message_user(request, f"{len(revoked)} API keys are revoked.")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Whoever operates the platform may set the budget of a key that is not revoked."""
        return bool(request.user.is_superuser) and (obj is None or obj.status != ApiKeyStatus.REVOKED)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Set the budget as the key's owner would."""
        keys.set_budget(obj.user, obj.pk, obj.max_credits)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of a key; what its runs did since its form was checked may make it say no after all."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:
            self.message_user(request, f"The budget is as it was: {error.message}", messages.ERROR)
            return HttpResponseRedirect(request.path)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)


@admin.register(Login)
class LoginAdmin(ReadOnlyAdmin):
    """Who is logged in, and why others no longer are."""

    list_display = ("user", "created_at", "turned_at", "turn", "expires_at", "ended_at", "ended_because")
    list_filter = ("ended_because",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-created_at", "id")


@admin.register(Impersonation)
class ImpersonationAdmin(ReadOnlyAdmin):
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
