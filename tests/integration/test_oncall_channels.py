"""Each channel against a receiver that takes, refuses, is slow, or is not there."""

import hashlib
import hmac
import socket
from collections.abc import Iterator

import pytest

from tests.fixtures.receivers import (
    HttpReceiver,
    MailReceiver,
    Reply,
    http_receiver,
    mail_receiver,
)
from tests.fixtures.warehouse import free_port
from tillstream.oncall.channels.channel import TAKEN, Answer, Verdict
from tillstream.oncall.channels.mail import Mail
from tillstream.oncall.channels.pagerduty import PagerDuty
from tillstream.oncall.channels.slack import Slack
from tillstream.oncall.channels.webhook import Webhook
from tillstream.oncall.policy import Reach
from tillstream.oncall.records import Page
from tillstream.oncall.subjects import Content

pytestmark = pytest.mark.integration

CONTENT = Content(
    summary="Milk <2 l> at store 7 is sold out;\nan order arrives in 2 days & costs",
    source="store 7",
    severity="high",
    opened_at_ms=1_770_000_000_123,
    details={"risk": 0.91, "stores": ["7"], "product_name": "Milk <!channel>"},
    links=(("https://c.example/alerts/a1", "Open in tillstream"),),
    component="p1",
    group="north",
)


def page(event: str = "trigger", address: str = "", note: str = "") -> Page:
    return Page(
        page_id="page-1",
        key="tillstream/alert/a1",
        event=event,
        round=1,
        step=2,
        target="mara",
        content=CONTENT,
        note=note,
        reach=(Reach("c", address),),
        position=0,
        attempts=0,
        created_ms=1_770_000_060_000,
    )


@pytest.fixture(scope="module")
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as one:
        yield one


@pytest.fixture
def http(receiver: HttpReceiver) -> HttpReceiver:
    receiver.reply = lambda _: Reply()
    receiver.asked.clear()
    receiver.taken.clear()
    return receiver


@pytest.fixture
def mailbox() -> Iterator[MailReceiver]:
    with mail_receiver() as one:
        yield one


def test_a_webhook_gets_a_signed_document(http: HttpReceiver) -> None:
    hook = Webhook(http.url, timeout_s=5, token="tok", signing_key="key")
    assert hook.send(page()) == hook.send(page()) == TAKEN
    hook.close()
    first, again = http.taken
    assert first.raw == again.raw
    assert first.headers["Idempotency-Key"] == "page-1"
    assert first.headers["Authorization"] == "Bearer tok"
    signature = hmac.new(b"key", first.raw, hashlib.sha256).hexdigest()
    assert first.headers["X-Tillstream-Signature"] == f"sha256={signature}"
    assert first.body["dedup_key"] == "tillstream/alert/a1"
    assert first.body["event"] == "trigger"
    assert first.body["opened_at"] == "2026-02-02T02:40:00.123+00:00"
    assert first.body["details"]["risk"] == 0.91
    assert first.body["links"] == [
        {"text": "Open in tillstream", "href": "https://c.example/alerts/a1"}
    ]


def test_pagerduty_gets_events_of_one_incident(http: HttpReceiver) -> None:
    duty = PagerDuty("R0UT1NG", timeout_s=5, url=http.url)
    http.reply = lambda _: Reply(202, text='{"status": "success"}')
    for event in ("trigger", "acknowledge", "resolve"):
        assert duty.send(page(event)) == TAKEN
    duty.close()
    trigger, acknowledge, resolve = (one.body for one in http.taken)
    assert trigger["payload"]["severity"] == "error"
    assert trigger["payload"]["component"] == "p1"
    assert trigger["payload"]["timestamp"].startswith("2026-02-02T02:40:00.123")
    assert trigger["links"][0]["href"] == "https://c.example/alerts/a1"
    same = {"routing_key": "R0UT1NG", "dedup_key": "tillstream/alert/a1"}
    assert acknowledge == {**same, "event_action": "acknowledge"}
    assert resolve == {**same, "event_action": "resolve"}


def test_slack_mentions_who_is_on_call_and_nobody_else(http: HttpReceiver) -> None:
    slack = Slack(http.url, timeout_s=5)
    assert slack.send(page(address="U024BE7LH")) == TAKEN
    assert slack.send(page("resolve", note="the shelf is safe again")) == TAKEN
    slack.close()
    text = http.taken[0].body["blocks"][0]["text"]["text"]
    assert "<@U024BE7LH> *Milk &lt;2 l&gt; at store 7" in text
    assert "Milk &lt;!channel&gt;" in text
    assert "<!channel>" not in text
    assert "<https://c.example/alerts/a1|Open in tillstream>" in text
    assert "Over: Milk" in http.taken[1].body["text"]
    assert "the shelf is safe again" in http.taken[1].body["text"]


def test_a_mail_says_it_all_in_plain_text(mailbox: MailReceiver) -> None:
    server = f"127.0.0.1:{mailbox.port}"
    mail = Mail(server, sender="till@b.example", timeout_s=5, security="none")
    assert mail.send(page(address="mara@b.example")) == TAKEN
    [got] = mailbox.taken
    assert got["To"] == "mara@b.example"
    assert (
        str(got["Subject"]).strip().startswith("[high] Milk <2 l> at store 7 is sold out; an order")
    )
    assert got["Message-ID"] == "<page-1@b.example>"
    text = got.get_payload()
    assert "risk: 0.91" in text
    assert "https://c.example/alerts/a1" in text


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (Reply(500, text="oh\nno"), Answer(Verdict.LATER, "HTTP 500: oh no")),
        (Reply(503), Answer(Verdict.LATER, "HTTP 503: ok")),
        (
            Reply(429, (("Retry-After", "7"),), "slow down"),
            Answer(Verdict.LATER, "HTTP 429: slow down", 7.0),
        ),
        (Reply(429, (("Retry-After", "soon"),)), Answer(Verdict.LATER, "HTTP 429: ok")),
        (Reply(400, text="bad"), Answer(Verdict.REFUSED, "HTTP 400: bad")),
        (Reply(403, text="invalid_token"), Answer(Verdict.BROKEN, "HTTP 403: invalid_token")),
        (Reply(302, (("Location", "/elsewhere"),)), Answer(Verdict.BROKEN, "HTTP 302: ok")),
        (Reply(200, after_s=1.5), Answer(Verdict.LATER, "no answer in time")),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Reply) else "",
)
def test_what_an_answer_means(http: HttpReceiver, reply: Reply, answer: Answer) -> None:
    http.reply = lambda _: reply
    hook = Webhook(http.url, timeout_s=0.5)
    assert hook.send(page()) == answer
    hook.close()
    assert [one.path for one in http.asked] == ["/hook"]


def test_nobody_there_and_nobody_answering_is_for_later() -> None:
    url = f"http://secret-name:secret-word@127.0.0.1:{free_port()}/T0/secret"
    hook = Webhook(url, timeout_s=0.5)
    assert hook.send(page()) == Answer(Verdict.LATER, "cannot be reached")
    mail = Mail(f"127.0.0.1:{free_port()}", sender="a@b.example", timeout_s=0.5, security="none")
    assert mail.send(page(address="c@b.example")).verdict is Verdict.LATER
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        quiet = Webhook(f"http://127.0.0.1:{port}/", timeout_s=0.3)
        assert quiet.send(page()) == Answer(Verdict.LATER, "no answer in time")
        mute = Mail(f"127.0.0.1:{port}", sender="a@b.example", timeout_s=0.3, security="none")
        assert mute.send(page(address="c@b.example")) == Answer(Verdict.LATER, "no answer in time")
    hook.close()
    quiet.close()


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("450 mailbox busy", Verdict.LATER), ("550 no such user", Verdict.REFUSED)],
)
def test_what_a_mail_server_says(mailbox: MailReceiver, said: str, verdict: Verdict) -> None:
    mailbox.refuse = lambda _: said
    server = f"127.0.0.1:{mailbox.port}"
    mail = Mail(server, sender="a@b.example", timeout_s=5, security="none")
    assert mail.send(page(address="c@b.example")) == Answer(verdict, f"SMTP {said[:3]}: {said[4:]}")


def test_a_mail_never_goes_unencrypted_where_it_should_not(mailbox: MailReceiver) -> None:
    mail = Mail(f"127.0.0.1:{mailbox.port}", sender="a@b.example", timeout_s=5)
    assert mail.send(page(address="c@b.example")).verdict is Verdict.BROKEN
    assert mailbox.taken == []
