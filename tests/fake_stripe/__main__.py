"""`python -m tests.fake_stripe PORT WEBHOOK`: a Stripe to try the platform with; POST to a checkout_url pays."""

import sys
import time

from tests.fake_stripe.server import API_KEY, SECRET, FakeStripe


def main(port: str = "12111", webhook: str = "") -> None:
    """Serve until interrupted."""
    with FakeStripe.running(int(port)) as stripe:
        stripe.webhook = webhook
        sys.stdout.write(f"STRIPE_API_BASE={stripe.origin} STRIPE_API_KEY={API_KEY} STRIPE_WEBHOOK_SECRET={SECRET}\n")
        sys.stdout.flush()
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(0)
