"""How buying credits and giving money back fail."""

from core.errors import Conflict, Invalid, NotFound, Unavailable


class PaymentsOff(Unavailable):
    """Nothing can be bought here: payments are not set up."""

    hint = "Install taskloom[stripe], and set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET; all else works without."


class PaymentsUnavailable(Unavailable):
    """Stripe does not answer."""

    hint = "Try again in a moment: nothing is charged twice."


class PaymentRefused(Invalid):
    """Stripe does not accept this."""


class CustomerGone(PaymentRefused):
    """Stripe does not know this customer any more."""


class PurchaseInvalid(Invalid):
    """Credits are bought from 500 on, in hundreds."""

    hint = "Send credit_amount as 500, 600, 700 and so on; 100 credits are 1 dollar."


class AutoTopUpInvalid(Invalid):
    """The threshold and the amount do not fit together."""

    status = 422
    hint = "amount is 0, which switches it off, or at least 500 and no less than threshold."


class NoCard(Invalid):
    """There is no saved card to charge."""

    hint = "Buy credits once with POST /api/credits, or add a card on the page that GET /api/credits/manage leads to."


class CardRefused(Invalid):
    """The card was refused."""

    hint = "Use another card: GET /api/credits/manage leads to yours."


class TopUpUnderWay(Conflict):
    """Your card is being charged at this moment."""

    hint = "Wait until it is done; it takes minutes at most."


class TooManyTopUps(Conflict):
    """Credits were bought as often today as they may be without being asked."""

    hint = "Buy some by hand, or have more bought at a time."


class NoSuchTopUp(NotFound):
    """There is no such top-up, or it is not paid."""

    hint = "GET /api/credits/transactions?transaction_type=TOP_UP lists those that can be refunded."


class RefundInvalid(Invalid):
    """This cannot be refunded."""


class AlreadyAsked(Invalid):
    """A refund of a top-up of that week has been asked for."""

    hint = "GET /api/credits/refunds tells how it stands; write to whoever runs this platform about more."


class WebhookRefused(Invalid):
    """This does not come from Stripe."""

    hint = "STRIPE_WEBHOOK_SECRET must be the signing secret of the endpoint that sends the events."
