"""Reviews in the admin site: to look at, and to decide for whoever is asked."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import link_to
from core.errors import DomainError
from executions.admin import ExecutionAdmin, short_id, shown_value
from executions.models import Review
from executions.reviews import Verdict, decide


@admin.register(Review)
class ReviewAdmin(ExecutionAdmin):
    """See what runs ask people, approve and reject."""

    list_display = ("instructions", "user", "status", "shown_run", "created_at", "decided_at")
    list_filter = ("status", "created_at")
    list_select_related = ("user",)
    ids = ("run",)
    search_fields = ("user__email",)
    search_help_text = "The id of a run, or part of an email address"
    actions = ("approve", "reject")
    fields = (
        "id", "user", "shown_run", "node_execution_id", "turn", "instructions", "shown_payload", "editable", "status",
        "shown_data", "message", "approves_rest", "created_at", "decided_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Review]:
        """The reviews without the values that may be long."""
        reviews: QuerySet[Review] = super().get_queryset(request)
        return reviews.defer("payload", "data")

    @admin.action(description="Approve the selected reviews", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Review]) -> None:
        """Let the data go on as it is."""
        self._decide(request, queryset, approved=True)

    @admin.action(description="Reject the selected reviews", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Review]) -> None:
        """Keep the data back."""
        self._decide(request, queryset, approved=False)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whoever operates the platform may."""
        return bool(request.user.is_superuser)

    def _decide(self, request: HttpRequest, queryset: QuerySet[Review], *, approved: bool) -> None:
        count = 0
        for review in queryset.order_by("created_at", "pk"):
            verdict = Verdict(review.node_execution_id, approved=approved, review_id=review.pk)
            try:
                decide(review.user_id, [verdict])
                count += 1
            except DomainError as error:
                self.message_user(request, f"{review.instructions}: {error.message}", messages.ERROR)
        self.message_user(request, f"{count} reviews are {'approved' if approved else 'rejected'}.")

    @admin.display(description="run", ordering="run")
    def shown_run(self, review: Review) -> str:
        """The way to its run."""
        return link_to("executions_graphexecution", review.run_id, short_id(review.run_id))

    @admin.display(description="payload")
    def shown_payload(self, review: Review) -> str:
        """What is asked about, cut when it is long."""
        return shown_value(review.payload)

    @admin.display(description="changed to")
    def shown_data(self, review: Review) -> str:
        """What it was changed to, if it was."""
        return "" if review.data is None else shown_value(review.data)
