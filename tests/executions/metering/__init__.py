"""What runs cost, and what happens when there is not enough to pay for it."""
