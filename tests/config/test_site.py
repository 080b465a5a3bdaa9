"""What a browser is shown beside the API."""

import re

from django.test import Client

from accounts.models import Role
from tests import make


def test_the_admin_site_bears_our_name(db: None) -> None:
    client = Client()
    client.force_login(make.a_user(role=Role.ADMIN))
    page = client.get("/admin/").content.decode()
    assert "<title>Operations | Taskloom</title>" in " ".join(page.split())
    assert re.search(r'<div id="site-name"><a href="/admin/">Taskloom</a></div>', page)
    assert "Django" not in page


def test_every_page_has_the_same_icon(client: Client, db: None) -> None:
    assert client.get("/favicon.ico").headers["Location"] == "/static/taskloom/icon.svg"
    for address in ("/admin/login/", "/api/docs/"):
        page = client.get(address).content.decode()
        (icon,) = re.findall(r'<link rel="icon"[^>]*href="([^"]+)"', page)
        assert icon == "/static/taskloom/icon.svg"
    answer = client.get("/static/taskloom/icon.svg")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/svg+xml"
    answer.close()
