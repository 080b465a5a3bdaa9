"""The names of tasks are how processes of different versions speak to each other."""

from accounts.queue import MAIL
from config.celery import app
from credits import queue as payments
from credits.queue import FOLD_TRANSFERS
from executions import queue
from files.queue import SWEEP
from integrations.queue import FORGET_DELIVERIES
from notifications.queue import SEND_MAILS


def test_every_task_that_is_sent_is_answered() -> None:
    app.loader.import_default_modules()
    assert queue.RING == "executions.ring"
    assert queue.RUN_NODE == "executions.run_node"
    assert MAIL == "accounts.mail"
    assert queue.FIRE_SCHEDULES == "executions.fire_schedules"
    assert queue.FORGET_BLOBS == "executions.forget_blobs"
    assert SWEEP == "files.sweep"
    assert SEND_MAILS == "notifications.send_mails"
    assert FOLD_TRANSFERS == "credits.fold_transfers"
    ours = {queue.RING, queue.RUN_NODE, queue.FIRE_SCHEDULES, queue.FORGET_BLOBS}
    assert {MAIL, SWEEP, FOLD_TRANSFERS, SEND_MAILS, *ours} <= set(app.tasks)
    assert payments.TOP_UP == "credits.top_up"
    assert payments.NOTICE_LOW == "credits.notice_low"
    assert payments.SETTLE_PAYMENTS == "credits.settle_payments"
    assert payments.ANSWER_DISPUTE == "credits.answer_dispute"
    assert payments.MAIL_REFUND_REQUEST == "credits.mail_refund_request"
    assert {payments.TOP_UP, payments.ANSWER_DISPUTE, payments.MAIL_REFUND_REQUEST} <= set(app.tasks)
    assert payments.FORGET_EVENTS == "credits.forget_events"
    assert queue.FORGET_FIRES == "executions.forget_fires"
    assert queue.TIDY_CREDITS == "executions.tidy_credits"
    assert queue.AUDIT_LEDGER == "executions.audit_ledger"
    assert queue.TAKE_UP_DELIVERIES == "executions.take_up_deliveries"
    assert FORGET_DELIVERIES == "integrations.forget_deliveries"
    assert {queue.TIDY_CREDITS, queue.AUDIT_LEDGER} <= set(app.tasks)


def test_every_task_of_beat_is_answered() -> None:
    app.loader.import_default_modules()
    sent = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {
        queue.FIRE_SCHEDULES,
        queue.FORGET_BLOBS,
        queue.FORGET_FIRES,
        queue.TAKE_UP_DELIVERIES,
        FORGET_DELIVERIES,
        payments.FORGET_EVENTS,
        SWEEP,
        FOLD_TRANSFERS,
        SEND_MAILS,
        payments.SETTLE_PAYMENTS,
        payments.NOTICE_LOW,
    } <= sent
    assert sent <= set(app.tasks)
