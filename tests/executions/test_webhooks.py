"""Events from outside start runs: one for each delivery and preset, however often and whenever it comes."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connections
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from core.asgi import ThreadedHandler
from core.ids import uuid7
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution
from executions.new_runs import NO_CREDITS
from executions.overdue import unread
from executions.webhooks import take_up_left
from integrations import old_deliveries
from integrations.models import Delivery, Webhook
from integrations.services import require_signatures, rotate_secret
from library.models import Preset
from notifications.models import Notification
from tests import make
from tests.core.test_asgi import LEAVES
from tests.core.test_asgi import Client as AsgiClient
from tests.executions.conftest import ended
from tests.executions.hooks import LINKS, NODES, Hook, a_hook
from tests.integrations.signing import github, standard
from tests.invariants import violations


def nothing_written(hook: Hook) -> bool:
    return (hook.deliveries, hook.runs) == ([], [])


# --- One event, one run -----------------------------------------------------------------------------------------


def test_an_event_runs_every_active_preset_of_its_webhook_once(owner: User, engine: Engine) -> None:
    hook, other = a_hook(owner, presets=3), a_hook(make.a_user())
    Preset.objects.filter(pk=hook.presets[2].pk).update(is_active=False)

    answer = hook.post({"order": 7}, webhook_id="msg_1")

    assert (answer.status_code, answer.content) == (200, b"null")
    [delivery] = hook.deliveries
    runs = {str(run.pk): run for run in hook.runs}
    assert [(each["preset_id"], each["reason"]) for each in delivery.outcomes] == [
        (str(preset.pk), "") for preset in hook.presets[:2]
    ]
    assert {each["run_id"] for each in delivery.outcomes} == set(runs)
    assert (delivery.delivery_id, delivery.event, bytes(delivery.payload)) == ("msg_1", "plain", b'{"order":7}')
    assert delivery.taken_up_at is not None
    engine.ring([run.pk for run in hook.runs])
    for number, each in enumerate(delivery.outcomes):
        run = ended(runs[each["run_id"]].pk)
        assert run.status == "COMPLETED"
        [masks] = run.nodes_input_masks.values()
        assert masks == {"constants": {"preset": number}, "payload": {"order": 7}}
    assert nothing_written(other)
    assert violations() == []


def test_a_delivery_that_comes_again_is_answered_and_starts_nothing(user: User) -> None:
    hook = a_hook(user)
    answers = [hook.post({"n": n}, webhook_id="msg_1").status_code for n in range(3)]
    answers += [hook.post({}, Idempotency_Key="msg_1").status_code]
    assert answers == [200] * 4
    assert len(hook.runs) == len(hook.deliveries) == 1
    assert bytes(hook.deliveries[0].payload) == b'{"n":0}'
    # Long after it is forgotten, the run still knows whose it is.
    Delivery.objects.all().delete()
    assert hook.post({"n": 9}, webhook_id="msg_1").status_code == 200
    assert len(hook.runs) == 1


def test_without_a_name_each_delivery_counts(user: User) -> None:
    hook = a_hook(user)
    for _ in range(2):
        hook.post({})
    assert len(hook.runs) == len(hook.deliveries) == 2


def test_two_webhooks_may_be_told_of_events_of_the_same_name(user: User) -> None:
    hooks = [a_hook(user), a_hook(user)]
    for hook in hooks:
        hook.post({}, webhook_id="msg_1")
    assert [len(hook.deliveries) for hook in hooks] == [1, 1]
    assert len(hooks[0].runs) == 2


def test_fifty_deliveries_of_one_event_at_once_start_one_run(owner: User) -> None:
    hook = a_hook(owner)
    assert at_once(lambda _: hook.post({}, webhook_id="msg_1").status_code, range(50)) == [200] * 50
    assert len(hook.runs) == len(hook.deliveries) == 1
    assert hook.deliveries[0].taken_up_at is not None


def test_a_burst_of_two_hundred_events_starts_two_hundred_runs(owner: User) -> None:
    hook = a_hook(owner)
    assert at_once(lambda n: hook.post({"n": n}, webhook_id=f"msg_{n}").status_code, range(200)) == [200] * 200
    payloads = [next(iter(run.nodes_input_masks.values()))["payload"]["n"] for run in hook.runs]
    assert sorted(payloads) == list(range(200))
    assert not Delivery.objects.filter(taken_up_at=None).exists()


def at_once(act: Callable[[int], Any], numbers: range) -> list[Any]:
    def done(number: int) -> Any:
        try:
            return act(number)
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(done, numbers))


def test_github_s_events_start_runs_and_its_ping_none(user: User) -> None:
    hook = a_hook(user, provider="github", events=["issues.opened"])
    secret = hook.webhook.secret
    opened, closed, ping = b'{"action":"opened"}', b'{"action":"closed"}', b'{"zen":"Keep it simple."}'
    assert hook.post(ping, **github(secret, ping, event="ping", delivery_id="0")).status_code == 200
    assert nothing_written(hook)
    for delivery_id, body in (("1", opened), ("2", closed), ("1", opened)):
        assert hook.post(body, **github(secret, body, event="issues", delivery_id=delivery_id)).status_code == 200
    assert [(each.event, len(each.outcomes)) for each in hook.deliveries] == [
        ("issues.opened", 1),
        ("issues.closed", 0),
    ]
    assert len(hook.runs) == 1


# --- What is refused --------------------------------------------------------------------------------------------


def test_what_is_not_signed_rightly_leaves_no_trace(user: User) -> None:
    hub, signed = a_hook(user, provider="github"), a_hook(user, config={"signed": True})
    another = a_hook(make.a_user(), config={"signed": True})
    body = b'{"a":1}'
    refused = [
        hub.post(body, **github(another.webhook.secret, body)),
        hub.post(body, X_GitHub_Event="push", X_GitHub_Delivery="1"),
        signed.post(body, **standard(another.webhook.secret, body)),
        signed.post(body, webhook_id="1", webhook_timestamp="1"),
    ]
    assert [(each.status_code, each.json()["code"]) for each in refused] == [(403, "signature_refused")] * 4
    missing = [hub.post(body), signed.post(body)]
    assert [(each.status_code, each.json()["code"]) for each in missing] == [(400, "header_unusable")] * 2
    assert not Delivery.objects.exists()
    assert not GraphExecution.objects.exists()
    assert signed.post(body, **standard(signed.webhook.secret, body)).status_code == 200
    assert len(hub.runs) == 1


def test_a_secret_that_is_changed_is_good_for_a_day_more(user: User) -> None:
    hook = a_hook(user)
    require_signatures(user.pk, hook.webhook.pk, signed=True)
    old, body = hook.webhook.secret, b"{}"
    new = rotate_secret(user.pk, hook.webhook.pk).secret
    for number, secret in enumerate((old, new)):
        assert hook.post(body, **standard(secret, body, delivery_id=str(number))).status_code == 200
    Webhook.objects.update(previous_secret_until=timezone.now() - timedelta(seconds=1))
    assert hook.post(body, **standard(old, body, delivery_id="2")).status_code == 403
    assert len(hook.runs) == 2


def test_nobody_knows_a_webhook_under_another_name(user: User) -> None:
    hook = a_hook(user)
    paths = [
        f"/api/integrations/github/webhooks/{hook.webhook.pk}/ingress",
        f"/api/integrations/nobody/webhooks/{hook.webhook.pk}/ingress",
        f"/api/integrations/generic_webhook/webhooks/{uuid7()}/ingress",
    ]
    answers = [APIClient().post(path, {}, format="json") for path in paths]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "no_such_webhook")] * 3
    assert nothing_written(hook)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "malformed_json"),
        (b"[1]", 422, "payload_not_an_object"),
        (b'{"a": NaN}', 422, "malformed_json"),
        (b'{"a": "' + b"x" * 1024 * 1024 + b'"}', 413, "payload_too_large"),
        (b'{"a": "' + b"x" * 11 * 1024 * 1024 + b'"}', 413, "payload_too_large"),
    ],
    ids=["malformed", "list", "nan", "1 MB", "11 MB"],
)
def test_a_body_that_cannot_be_kept_is_refused(user: User, body: bytes, status: int, code: str) -> None:
    hook = a_hook(user)
    answer = hook.post(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert nothing_written(hook)


def test_a_body_must_say_that_it_is_json_and_come_unpacked(user: User) -> None:
    hook = a_hook(user)
    plain = APIClient().post(hook.path, "{}", content_type="text/plain")
    packed = hook.post(b"\x1f\x8b", Content_Encoding="gzip")
    for answer in (plain, packed):
        assert (answer.status_code, answer.json()["code"]) == (415, "payload_not_plain_json")
    assert nothing_written(hook)


class Trickling(AsgiClient):
    """Sends a byte, then nothing until it leaves."""

    def __init__(self, path: str, **scope: Any) -> None:
        super().__init__(path, [{"type": "http.request", "body": b"{", "more_body": True}], **scope)
        self.leave = asyncio.Event()

    async def receive(self) -> Mapping[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await self.leave.wait()
        return LEAVES


async def test_a_sender_that_trickles_keeps_nobody_else_waiting(owner: User, closing: None) -> None:
    hook = await asyncio.to_thread(a_hook, owner)
    handler = ThreadedHandler()
    handler.load_middleware()
    sent = {
        "method": "POST",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
    }
    slow = [Trickling(hook.path, **sent) for _ in range(100)]
    waiting = [asyncio.create_task(each.asks(handler)) for each in slow]
    await asyncio.sleep(0)
    quick = await AsgiClient(hook.path, [{"type": "http.request", "body": b"{}"}], **sent).asks(handler)
    assert quick.answer == (200, b"null")
    for each in slow:
        each.leave.set()
    await asyncio.gather(*waiting)
    assert [each.got for each in slow] == [[]] * 100
    assert await asyncio.to_thread(lambda: len(hook.deliveries)) == 1


# --- What goes wrong afterwards ---------------------------------------------------------------------------------


def test_one_preset_that_cannot_start_does_not_hold_up_the_others(user: User) -> None:
    hook = a_hook(user, presets=2)
    needs = make.a_graph(user, make.a_drawing({**NODES, "in": ("AgentInput", {"name": "who"})}, LINKS))
    bare = make.a_graph(user)
    gone = make.a_graph(user, make.a_drawing(NODES, LINKS))
    for graph, version in ((needs, 1), (bare, 1), (gone, 9)):
        hook.presets.append(make.a_preset(user, graph.graph_id, webhook=hook.webhook, graph_version=version))

    assert hook.post({}, webhook_id="msg_1").status_code == 200

    [reasons] = hook.reasons
    assert reasons[:2] == ["", ""]
    assert 'give "who" in inputs' in reasons[2] or "cannot run" in reasons[2]
    assert reasons[3] == "No event can start this version of the graph: it has no trigger."
    assert "9" in reasons[4]
    assert len(hook.runs) == 2
    for preset in hook.presets:
        preset.refresh_from_db()
    assert [preset.is_active for preset in hook.presets] == [True, True, True, True, False]


def test_who_has_no_credits_left_gets_no_runs_and_is_told_once(user: User, settings: LazySettings) -> None:
    settings.CREDITS = "paid"
    hook = a_hook(user)
    assert hook.post({}).status_code == 200
    assert hook.post({}).status_code == 200
    assert hook.reasons == [[NO_CREDITS]] * 2
    assert hook.runs == []
    [notice] = Notification.objects.filter(user=user)
    preset = hook.presets[0]
    assert notice.data == {"graph_id": str(preset.graph_id), "preset_id": str(preset.pk)}


def test_the_events_of_somebody_who_is_switched_off_are_kept_and_start_nothing(user: User) -> None:
    hook = a_hook(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert hook.post({}).status_code == 200
    assert (hook.reasons, hook.runs) == ([["The account is switched off."]], [])


def test_nobody_elses_preset_is_run(user: User) -> None:
    hook, other = a_hook(user), make.a_user()
    graph = make.a_graph(other, make.a_drawing(NODES, LINKS))
    make.a_preset(other, graph.graph_id, webhook=hook.webhook)
    hook.post({})
    assert len(hook.runs) == 1
    assert not GraphExecution.objects.filter(user=other).exists()


def test_what_could_not_be_taken_up_is_kept_and_taken_up_later(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = a_hook(user)

    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(services, "start_run", away)
        assert hook.post({}, webhook_id="msg_1").status_code == 200
    assert [delivery.taken_up_at for delivery in hook.deliveries] == [None]
    assert violations() == [f"delivery {hook.deliveries[0].pk}: nobody has taken it up"]
    assert take_up_left() == 0
    age()
    waiting = unread()
    assert waiting is not None
    assert (waiting[0], 60 <= waiting[1] < 90) == (hook.deliveries[0].pk, True)
    assert take_up_left() == 1
    assert take_up_left() == 0
    assert unread() is None
    assert len(hook.runs) == 1


def test_a_fault_of_ours_is_told_with_the_delivery(
    user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hook = a_hook(user)

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(services, "start_run", broken)
        assert hook.post({}).status_code == 200
    assert hook.reasons == [["Something went wrong here; it has been logged."]]
    assert "could not start preset" in caplog.text
    # An operator has it taken up again.
    Delivery.objects.update(taken_up_at=None)
    age()
    assert take_up_left() == 1
    assert (hook.reasons, len(hook.runs)) == ([[""]], 1)


def age() -> None:
    """What is in the inbox has been there for a minute."""
    Delivery.objects.update(received_at=timezone.now() - timedelta(minutes=1))


def test_old_deliveries_are_forgotten_once_they_were_taken_up(user: User) -> None:
    hook = a_hook(user)
    for name in ("old", "left", "new"):
        hook.post({}, webhook_id=name)
    month = timezone.now() - timedelta(days=30, seconds=1)
    Delivery.objects.exclude(delivery_id="new").update(received_at=month)
    Delivery.objects.filter(delivery_id="left").update(taken_up_at=None)
    assert old_deliveries.forget_deliveries() == 1
    assert {delivery.delivery_id for delivery in hook.deliveries} == {"left", "new"}


# --- How often --------------------------------------------------------------------------------------------------


def test_a_webhook_takes_so_many_events_and_forgeries_do_not_use_them_up(user: User, settings: LazySettings) -> None:
    settings.RATES = {**settings.RATES, "webhooks": "2/h", "anonymous": "3/h"}
    hook, other = a_hook(user, config={"signed": True}), a_hook(user)
    secret = hook.webhook.secret
    forged = [hook.post(b"{}", webhook_id="1", webhook_timestamp="1").status_code for _ in range(5)]
    assert forged == [403, 403, 403, 429, 429]
    taken = [hook.post(b"{}", **standard(secret, b"{}", delivery_id=str(n))) for n in range(3)]
    assert [answer.status_code for answer in taken] == [200, 200, 429]
    assert int(taken[2].headers["Retry-After"]) > 0
    assert len(hook.deliveries) == 2
    assert other.post({}).status_code == 200
