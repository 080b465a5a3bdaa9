"""Users as rows."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError

from accounts.models import Role, User
from graphs.models import Graph, GraphVersion
from tests import make


def test_an_email_belongs_to_one_user_whatever_its_case(db: None) -> None:
    make.a_user("Ada@Example.com")
    assert User.objects.get_by_natural_key("ADA@example.com").email == "ada@example.com"
    with pytest.raises(IntegrityError, match="accounts_user_email"):
        make.a_user("adA@example.com")


def test_an_email_in_capitals_cannot_slip_in_by_another_way(user: User) -> None:
    with pytest.raises(IntegrityError, match="email_is_lower_case"):
        User.objects.filter(pk=user.pk).update(email="LOUD@example.com")


def test_a_user_needs_an_email(db: None) -> None:
    with pytest.raises(ValueError, match="needs an email"):
        User.objects.create_user("")
    assert User.objects.count() == 0


def test_rights_follow_the_role(db: None) -> None:
    user, admin = make.a_user(), User.objects.create_superuser("root@example.com", "x")
    assert (user.is_staff, user.is_superuser, user.has_perm("graphs.view_graph")) == (False, False, False)
    assert (admin.is_staff, admin.is_superuser, admin.has_perm("graphs.view_graph")) == (True, True, True)
    admin.is_active = False
    assert not admin.has_perm("graphs.view_graph")
    assert not admin.has_module_perms("graphs")


def test_there_is_no_third_role(user: User) -> None:
    with pytest.raises(IntegrityError, match="role_is_user_or_admin"):
        User.objects.filter(pk=user.pk).update(role="king")
    assert set(Role.values) == {"user", "admin"}


def test_nobody_sees_nothing(user: User) -> None:
    make.a_graph(user)
    assert Graph.objects.visible_to(AnonymousUser()).count() == 0
    assert GraphVersion.objects.visible_to(AnonymousUser()).count() == 0
    assert Graph.objects.visible_to(user).count() == 1
