"""People in the admin site."""

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group

from accounts.models import User

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
        ("Access", {"fields": ("role", "is_active", "password")}),
        ("Times", {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (
            None,
            {"classes": ("wide",), "fields": ("email", "name", "role", "usable_password", "password1", "password2")},
        ),
    )
