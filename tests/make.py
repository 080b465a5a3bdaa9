"""What tests are made of: one function per thing, with everything chosen that the test does not care about."""

from itertools import count

from accounts.models import User

PASSWORD = "correct horse battery staple"

_numbers = count(1)


def a_user(email: str = "", password: str = PASSWORD, **fields: object) -> User:
    """A person with an email address of their own."""
    return User.objects.create_user(email or f"person{next(_numbers)}@example.com", password, **fields)
