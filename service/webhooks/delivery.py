"""Deliverer: sends what is due in the outbox. A webhook has one message under way in a process, in a thread
of its own, so that one which fails or is slow holds up no other."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from nearnorm.service.background import Background
from nearnorm.service.errors import InvalidRequest, LedgerUnavailable, Overloaded
from nearnorm.service.ids import new_id, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.webhooks import outbox, subscriptions
from nearnorm.service.ledger.tables.webhooks.outbox import Message
from nearnorm.service.ledger.tables.webhooks.subscriptions import Webhook
from nearnorm.service.logs import log
from nearnorm.service.records.shapes import Reason
from nearnorm.service.settings import Settings
from nearnorm.service.webhooks import contents, signature, subscription
from nearnorm.service.webhooks.contents import Explain
from nearnorm.service.webhooks.retries import Retries
from nearnorm.service.webhooks.sender import GONE, Attempt, Sender
from nearnorm.service.webhooks.told import Told

DELIVERING = "delivering webhooks"
LOOK_SECONDS = 0.5
SWEEP_SECONDS = 60.0
MOST_TRIED_AT_ONCE = 4
KEPT_MS = 24 * 3600 * 1000
"""How long a delivered message can be looked at."""
DEAD_KEPT_MS = 7 * 24 * 3600 * 1000


def _no_reasons(_: str, records: list[dict[str, object]]) -> list[list[Reason]]:
    return [[] for _ in records]


class Deliverer:
    """One thread that looks, from `start` to `close`, and one for each webhook that has something due."""

    def __init__(
        self,
        ledger: Ledger,
        background: Background,
        settings: Settings,
        sender: Sender | None = None,
        retries: Retries = Retries(),  # noqa: B008 - frozen
    ) -> None:
        self._ledger = ledger
        self._background = background
        self._hosts = subscription.listed_hosts(settings)
        self._base_url = settings.public_url
        self._sender = sender or Sender()
        self._retries = retries
        self._explain: Explain = _no_reasons
        self._watch: Callable[[bool], None] = lambda _: None
        self._lanes: dict[str, threading.Thread] = {}
        self._trying = threading.Semaphore(MOST_TRIED_AT_ONCE)
        self._told_of: set[str] = set()
        self._webhooks: dict[str, Webhook] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.attempts: Counter[str] = Counter(delivered=0, failed=0)

    def start(self, watch: Callable[[bool], None], explain: Explain) -> None:
        """`watch` is called at every look, with whether there are webhooks; `explain` tells a model's
        reasons."""
        self._watch, self._explain = watch, explain
        self._thread = self._background.start_thread(DELIVERING, self._run)

    def close(self) -> None:
        """Wait a moment for what is under way; what is not known to be taken then is sent again."""
        self._stop.set()
        until = time.monotonic() + 5.0
        for thread in (self._thread, *self._lanes.copy().values()):
            if thread is not None:
                thread.join(max(0.0, until - time.monotonic()))

    def webhook(self, webhook_id: str | None) -> Webhook | None:
        """One of those that there were at the last look, half a second ago."""
        return self._webhooks.get(webhook_id or "")

    def try_now(self, webhook: Webhook) -> Attempt:
        """Send a message that says only that it is a test, and no second time. Raises Overloaded."""
        if not self._trying.acquire(blocking=False):
            raise Overloaded(
                f"{MOST_TRIED_AT_ONCE} webhooks are being tried: wait for these", headers={"Retry-After": "5"}
            )
        try:
            return self._post(webhook, _test(webhook))
        finally:
            self._trying.release()

    def _run(self) -> None:
        sweep_at = 0.0
        while not self._stop.wait(LOOK_SECONDS):
            try:
                with self._ledger.read() as connection:
                    self._webhooks = {one.webhook_id: one for one in subscriptions.every(connection)}
                    due = outbox.due(connection, now_ms()) if self._webhooks else []
                for webhook_id in {message.webhook_id for message in due}:
                    self._begin(webhook_id)
                self._watch(bool(self._webhooks))
                if time.monotonic() > sweep_at:
                    self._sweep()
                    sweep_at = time.monotonic() + SWEEP_SECONDS
                self._background.works(DELIVERING)
            except LedgerUnavailable as error:
                self._background.waits(DELIVERING, error.detail)

    def _begin(self, webhook_id: str) -> None:
        lane = self._lanes.get(webhook_id)
        if lane is None or not lane.is_alive():
            lane = threading.Thread(target=self._work, args=(webhook_id,), daemon=True)
            self._lanes[webhook_id] = lane
            lane.start()

    def _work(self, webhook_id: str) -> None:
        """Send what is due for one webhook, one message after the other."""
        try:
            while not self._stop.is_set() and (taken := self._take(webhook_id)):
                self._deliver(*taken)
        except LedgerUnavailable as error:  # what is under a lease is sent again
            self._background.waits(DELIVERING, error.detail)
        except Exception as error:
            self._background.failed(DELIVERING, error)

    def _take(self, webhook_id: str) -> tuple[Webhook, Message, contents.EventsById] | None:
        with self._ledger.read() as connection:
            due = [one for one in outbox.due(connection, now_ms()) if one.webhook_id == webhook_id]
        if not due:
            return None
        with self._ledger.write() as connection:
            webhook = subscriptions.find(connection, webhook_id)
            for message in due:
                if webhook is not None and (taken := outbox.take(connection, message, now_ms())):
                    return webhook, taken, contents.read_events(connection, taken)
        return None

    def _deliver(self, webhook: Webhook, message: Message, kept: contents.EventsById) -> None:
        attempt = self._attempt(webhook, message, kept)
        self.attempts["failed" if attempt.problem else "delivered"] += 1
        now = now_ms()
        with self._ledger.write() as connection:
            if attempt.problem is None:
                outbox.end(connection, message, "delivered", now, attempt.status, None)
            elif attempt.status == GONE or now - message.since >= self._retries.give_up:
                outbox.end(connection, message, "dead", now, attempt.status, attempt.problem)
                log.error("a webhook's message is given up", **_named(message), problem=attempt.problem)
            else:
                due_at = now + self._retries.pause(message.attempts, attempt.retry_after)
                outbox.postpone(connection, message, due_at, attempt.status, attempt.problem)
                if message.attempts == 1:
                    log.warning("a webhook's message was not taken", **_named(message), status=attempt.status)

    def _attempt(self, webhook: Webhook, message: Message, kept: contents.EventsById) -> Attempt:
        try:
            told = contents.tell(message, webhook, kept, self._base_url, self._explain)
            return self._post(webhook, told)
        except Exception as error:  # one message that cannot be written holds up no other subject
            self._background.failed(DELIVERING, error)
            return Attempt(problem=f"a mistake of ours, see the service's log: {type(error).__name__}")

    def _post(self, webhook: Webhook, told: Told) -> Attempt:
        try:
            where = subscription.destination_of(webhook.url, self._hosts)
        except InvalidRequest as error:  # its host is not listed any more
            return Attempt(problem=str(error))
        body, now = contents.encode(told, webhook), now_ms()
        signed = signature.headers(told.message_id, now // 1000, body, webhook.secrets(now))
        return self._sender.post(where, body, signed)

    def _sweep(self) -> None:
        """Forget what is old, and tell operators of what nobody took."""
        now = now_ms()
        if self._webhooks:
            with self._ledger.write() as connection:
                outbox.prune(connection, now - KEPT_MS, now - DEAD_KEPT_MS)
        self.tell_problems()

    def tell_problems(self) -> None:
        """Problems of this moment. Raises LedgerUnavailable."""
        with self._ledger.read() as connection:
            there = {one.webhook_id for one in subscriptions.every(connection)}
            counted = outbox.counts(connection) if there else {}
        problems: dict[str, str] = {}
        for webhook_id in there:
            task = f"webhook {webhook_id}"
            if dead := counted.get((webhook_id, "dead")):
                problems[task] = (
                    f"an operator, as {dead} messages were given up: why, tells GET "
                    f"/webhooks/{webhook_id}/deliveries?state=dead, and POST /webhooks/{webhook_id}/replay "
                    "sends them again"
                )
            elif counted.get((webhook_id, "waiting"), 0) >= outbox.MOST_ALERTS_WAITING:
                problems[task] = "its receiver, which does not keep up: the outbox is full, and drops alerts"
        for task in self._told_of - problems.keys():
            self._background.works(task)
        for task, problem in problems.items():
            self._background.waits(task, problem)
        self._told_of = set(problems)


def _test(webhook: Webhook) -> Told:
    data = {"webhook_id": webhook.webhook_id}
    return Told(f"msg_{new_id()}", "test", "sent", "test", now_ms(), data)


def _named(message: Message) -> dict[str, object]:
    return {
        "webhook_id": message.webhook_id,
        "message_id": message.message_id,
        "kind": message.kind,
        "attempts": message.attempts,
    }
