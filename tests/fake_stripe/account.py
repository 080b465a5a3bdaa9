"""What Stripe knows of one account: its objects, what programs ask of them, and what people and banks do."""

import time
from collections.abc import Callable, Mapping
from itertools import count
from threading import RLock
from typing import Any

Object = dict[str, Any]
API_VERSION = "2026-10-28.endive"


class Refusal(Exception):
    """An error as Stripe answers it."""

    def __init__(self, status: int, type: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": type, "message": message, **more}


def invalid(message: str, **more: Any) -> Refusal:
    """A request that makes no sense."""
    return Refusal(400, "invalid_request_error", message, **more)


class StripeAccount:
    """The account. `events` is what it would tell webhooks, oldest first."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.objects: dict[str, Object] = {}
        self.events: list[Object] = []
        self.evidence: dict[str, str] = {}
        self._numbers = count(1)
        self._behaviour: dict[str, str] = {}
        self.routes: dict[tuple[str, str], Callable[..., Object]] = {
            ("POST", "customers"): self.create_customer,
            ("GET", "customers/*"): self.retrieve,
            ("GET", "customers/*/payment_methods"): self.list_cards,
            ("POST", "checkout/sessions"): self.create_session,
            ("GET", "checkout/sessions/*"): self.retrieve,
            ("POST", "billing_portal/sessions"): self.create_portal,
            ("POST", "payment_intents"): self.create_intent,
            ("GET", "payment_intents/*"): self.retrieve,
            ("GET", "payment_intents"): self.list_intents,
            ("POST", "setup_intents"): self.create_setup,
            ("POST", "refunds"): self.create_refund,
            ("GET", "refunds"): self.list_refunds,
            ("POST", "disputes/*"): self.update_dispute,
            ("POST", "disputes/*/close"): self.concede,
            ("GET", "balance_transactions"): self.list_balance,
            ("GET", "events"): self.list_events,
        }

    # --- What programs ask --------------------------------------------------------------------------------------

    def retrieve(self, object_id: str, _: Object) -> Object:
        """Any object by its id."""
        try:
            return self.objects[object_id]
        except KeyError:
            param = "customer" if object_id.startswith("cus_") else "id"
            message = f"No such {param}: '{object_id}'"
            raise Refusal(404, "invalid_request_error", message, code="resource_missing", param=param) from None

    def create_customer(self, params: Object) -> Object:
        return self._made("cus", "customer", email=params.get("email"), metadata=params.get("metadata", {}))

    def list_cards(self, customer: str, params: Object) -> Object:
        self.retrieve(customer, {})
        cards = self.found("payment_method", customer=customer)
        return self._page(cards, params, f"/v1/customers/{customer}/payment_methods")

    def create_session(self, params: Object) -> Object:
        self.retrieve(params["customer"], {})
        total = sum(int(item["price_data"]["unit_amount"]) * int(item["quantity"]) for item in params["line_items"])
        if total < 50:
            raise invalid("The Checkout Session's total amount must be at least $0.50 usd", code="amount_too_small")
        session = self._made(
            "cs_test",
            "checkout.session",
            mode=params["mode"],
            customer=params["customer"],
            currency=params["line_items"][0]["price_data"]["currency"],
            amount_subtotal=total,
            amount_total=total,
            payment_intent=None,
            payment_status="unpaid",
            status="open",
            metadata=params.get("metadata", {}),
            success_url=params["success_url"],
            cancel_url=params["cancel_url"],
        )
        session["url"] = f"{self.origin}/pay/{session['id']}"
        session["_intent_metadata"] = params.get("payment_intent_data", {}).get("metadata", {})
        return session

    def create_portal(self, params: Object) -> Object:
        self.retrieve(params["customer"], {})
        portal = self._made(
            "bps", "billing_portal.session", customer=params["customer"], return_url=params["return_url"]
        )
        portal["url"] = f"{self.origin}/portal/{portal['id']}"
        return portal

    def create_intent(self, params: Object) -> Object:
        card = self._card(params)
        amount = int(params["amount"])
        intent = self._made(
            "pi",
            "payment_intent",
            amount=amount,
            amount_received=0,
            currency=params["currency"],
            customer=params["customer"],
            payment_method=card,
            metadata=params.get("metadata", {}),
            status="requires_payment_method",
        )
        self._charge(intent, card)
        return intent

    def list_intents(self, params: Object) -> Object:
        since = int(params.get("created", {}).get("gte", 0))
        found = [each for each in self.found("payment_intent", customer=params["customer"]) if each["created"] >= since]
        return self._page(found, params, "/v1/payment_intents")

    def create_setup(self, params: Object) -> Object:
        card = self._card(params)
        behaviour = self._behaviour[card]
        if behaviour == "declined":
            raise self._declined("Your card was declined.", "generic_decline")
        status = "requires_action" if behaviour == "requires_action" else "succeeded"
        return self._made("seti", "setup_intent", customer=params["customer"], payment_method=card, status=status)

    def create_refund(self, params: Object) -> Object:
        intent = self.retrieve(params["payment_intent"], {})
        return self.give_back(
            intent["id"], int(params.get("amount") or intent["amount_received"]), params.get("metadata", {})
        )

    def list_refunds(self, params: Object) -> Object:
        return self._page(self.found("refund", payment_intent=params["payment_intent"]), params, "/v1/refunds")

    def update_dispute(self, dispute_id: str, params: Object) -> Object:
        dispute = self.retrieve(dispute_id, {})
        if dispute["status"] != "needs_response":
            raise invalid("This dispute cannot be updated.")
        self.evidence[dispute_id] = params["evidence"]["uncategorized_text"]
        dispute["status"] = "under_review"
        self.tell("charge.dispute.updated", dispute)
        return dispute

    def concede(self, dispute_id: str, _: Object) -> Object:
        dispute = self.retrieve(dispute_id, {})
        if dispute["status"] in ("won", "lost"):
            raise invalid("This dispute is already closed.")
        dispute["status"] = "lost"
        self.tell("charge.dispute.closed", dispute)
        return dispute

    def list_balance(self, params: Object) -> Object:
        since, until = (
            int(params.get("created", {}).get(name, fallback)) for name, fallback in (("gte", 0), ("lt", 2**40))
        )
        found = [
            {**each, "source": self.objects[each["source"]]}
            for each in self.found("balance_transaction")
            if since <= each["created"] < until
        ]
        return self._page(found, params, "/v1/balance_transactions")

    def list_events(self, params: Object) -> Object:
        return self._page(self.events[::-1], params, "/v1/events")

    # --- What people and banks do -------------------------------------------------------------------------------

    def add_card(self, customer: str, behaviour: str = "works") -> str:
        """Save a card that `works`, is `declined`, or `requires_action` of its owner; returns its id."""
        with self.lock:
            self.retrieve(customer, {})
            card = self._made("pm", "payment_method", type="card", customer=customer, card={"last4": "4242"})
            self._behaviour[card["id"]] = behaviour
            return str(card["id"])

    def pay(self, session_id: str, *, off: int = 0, later: bool = False) -> Object:
        """Pay on the page of a session, `off` cents less by a promotion; returns the event of it.

        With `later` the bank takes days: `settle` tells how it went.
        """
        with self.lock:
            session = self.retrieve(session_id, {})
            session["amount_total"] = session["amount_subtotal"] - off
            session["status"] = "complete"
            if session["amount_total"] == 0:
                session["payment_status"] = "no_payment_required"
                return self.tell("checkout.session.completed", session)
            card = self.add_card(session["customer"])
            intent = self._made(
                "pi",
                "payment_intent",
                amount=session["amount_total"],
                amount_received=0,
                currency=session["currency"],
                customer=session["customer"],
                payment_method=card,
                metadata=session["_intent_metadata"],
                status="processing",
            )
            session["payment_intent"] = intent["id"]
            if later:
                return self.tell("checkout.session.completed", session)
            self._charge(intent, card)
            session["payment_status"] = "paid"
            return self.tell("checkout.session.completed", session)

    def settle(self, session_id: str, *, paid: bool) -> Object:
        """The bank says how a payment that takes days went; returns the event of it."""
        with self.lock:
            session = self.retrieve(session_id, {})
            if not paid:
                return self.tell("checkout.session.async_payment_failed", session)
            intent = self.objects[session["payment_intent"]]
            self._charge(intent, intent["payment_method"])
            session["payment_status"] = "paid"
            return self.tell("checkout.session.async_payment_succeeded", session)

    def expire(self, session_id: str) -> Object:
        """A day has passed and nobody paid; returns the event of it."""
        with self.lock:
            session = self.retrieve(session_id, {})
            session["status"] = "expired"
            return self.tell("checkout.session.expired", session)

    def give_back(
        self, intent_id: str, amount: int, metadata: Mapping[str, str] | None = None, status: str = "succeeded"
    ) -> Object:
        """Refund a payment, as the dashboard does; returns the refund."""
        with self.lock:
            refunds = self.found("refund", payment_intent=intent_id)
            gone = sum(refund["amount"] for refund in refunds if refund["status"] not in ("failed", "canceled"))
            left = self.objects[intent_id]["amount_received"] - gone
            if amount <= 0 or amount > left:
                raise invalid(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
            refund = self._made(
                "re",
                "refund",
                amount=amount,
                currency="usd",
                payment_intent=intent_id,
                status=status,
                metadata=dict(metadata or {}),
            )
            self._book("refund", refund, -amount)
            self.tell("refund.created", refund)
            return refund

    def change_refund(self, refund_id: str, status: str) -> Object:
        """The bank says how a refund went; returns the event of it."""
        with self.lock:
            refund = self.objects[refund_id]
            refund["status"] = status
            if status == "failed":
                self._book("refund_failure", refund, refund["amount"])
            return self.tell("refund.failed" if status == "failed" else "refund.updated", refund)

    def dispute(self, intent_id: str, amount: int | None = None) -> Object:
        """A bank wants a payment back; returns the dispute."""
        with self.lock:
            intent = self.objects[intent_id]
            dispute = self._made(
                "dp",
                "dispute",
                amount=intent["amount_received"] if amount is None else amount,
                currency="usd",
                payment_intent=intent_id,
                status="needs_response",
                metadata={},
            )
            self._book("adjustment", dispute, -dispute["amount"])
            self.tell("charge.dispute.created", dispute)
            return dispute

    def close_dispute(self, dispute_id: str, *, won: bool) -> Object:
        """The bank decides; returns the event of it."""
        with self.lock:
            dispute = self.objects[dispute_id]
            dispute["status"] = "won" if won else "lost"
            return self.tell("charge.dispute.closed", dispute)

    # --- Inside -------------------------------------------------------------------------------------------------

    origin = ""

    def _card(self, params: Object) -> str:
        card = self.objects.get(params["payment_method"])
        if card is None or card["customer"] != params["customer"]:
            raise invalid("The payment method does not belong to the customer.")
        return str(card["id"])

    def _charge(self, intent: Object, card: str) -> None:
        behaviour = self._behaviour[card]
        if behaviour == "declined":
            raise self._declined("Your card was declined.", "card_declined", payment_intent=shown(intent))
        if behaviour == "requires_action":
            raise self._declined(
                "Your card was declined. This transaction requires authentication.",
                "authentication_required",
                payment_intent=shown(intent),
            )
        charge = self._made(
            "ch",
            "charge",
            amount=intent["amount"],
            currency=intent["currency"],
            customer=intent["customer"],
            payment_intent=intent["id"],
            metadata=dict(intent["metadata"]),
            status="succeeded",
        )
        intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
        self._book("charge", charge, intent["amount"])
        self.tell("payment_intent.succeeded", intent)

    def _declined(self, message: str, code: str, **more: Any) -> Refusal:
        return Refusal(402, "card_error", message, code=code, decline_code=code, **more)

    def _book(self, type: str, source: Object, amount: int) -> None:
        self._made("txn", "balance_transaction", type=type, source=source["id"], amount=amount, currency="usd")

    def _made(self, prefix: str, kind: str, **fields: Any) -> Object:
        made = {"id": f"{prefix}_{next(self._numbers):08d}", "object": kind, "created": int(time.time()), **fields}
        self.objects[made["id"]] = made
        return made

    def found(self, kind: str, **fields: Any) -> list[Object]:
        """All objects of a kind with these fields, newest first."""
        return [
            each
            for each in reversed(self.objects.values())
            if each["object"] == kind and all(each[name] == value for name, value in fields.items())
        ]

    def _page(self, found: list[Object], params: Object, url: str) -> Object:
        ids = [each["id"] for each in found]
        start = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
        limit = int(params.get("limit", 10))
        return {
            "object": "list",
            "url": url,
            "has_more": start + limit < len(found),
            "data": [shown(each) for each in found[start : start + limit]],
        }

    def tell(self, type: str, about: Object) -> Object:
        """Something happened to an object; returns the event of it."""
        event = {
            "id": f"evt_{next(self._numbers):08d}",
            "object": "event",
            "api_version": API_VERSION,
            "created": int(time.time()),
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type,
            "data": {"object": shown(about)},
        }
        self.events.append(event)
        return event


def shown(thing: Object) -> Object:
    """An object as it is at this moment, without what only the fake knows."""
    return {name: dict(value) if isinstance(value, dict) else value for name, value in thing.items() if name[0] != "_"}
