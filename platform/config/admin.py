"""The admin site as a whole: its name, the width that its tables need, and who may try passwords how often."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from core import throttles


class LogInForm(AdminAuthenticationForm):
    """Counts attempts as the REST interface does, and with them."""

    def clean(self) -> dict[str, Any]:
        """What was typed in, when it lets somebody in; no password is looked at when there were too many."""
        try:
            throttles.check_sign_in(cast(HttpRequest, self.request), self.data.get("username", ""))
        except throttles.TooManyRequests as error:
            message = f"Too many attempts. Try again in {error.data['retry_after']} seconds."
            raise ValidationError(message, code=error.code) from None
        return super().clean()


admin.site.login_form = LogInForm
admin.site.site_header = "Taskloom"
admin.site.site_title = "Taskloom"
admin.site.index_title = "Operations"
admin.site.enable_nav_sidebar = False
