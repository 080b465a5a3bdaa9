"""The unit that use is paid in."""

# Amounts are whole micro-credits; one credit is one US cent.
CREDIT = 1_000_000
# What the contract's clients can count: 32 bits of whole credits.
MOST_CREDITS = 2**31 - 1
