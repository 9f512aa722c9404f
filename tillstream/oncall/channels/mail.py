"""E-mail over SMTP."""

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from tillstream.oncall.channels.channel import TAKEN, Answer, Verdict
from tillstream.oncall.records import Page

_SUBJECT_CHARS = 200
_EVENTS = {"trigger": "", "acknowledge": "answered: ", "resolve": "over: "}


class Mail:
    """One mail server. Each page is a connection of its own: a session kept open for hours is
    found dead at the worst moment. `security` is starttls, tls or none."""

    def __init__(
        self,
        server: str,
        *,
        sender: str,
        timeout_s: float,
        to: str = "",
        security: str = "starttls",
        username: str = "",
        password: str = "",
    ) -> None:
        host, _, port = server.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._sender = sender
        self._to = to
        self._timeout_s = timeout_s
        self._security = security
        self._login = (username, password)

    def send(self, page: Page) -> Answer:
        mail = letter(page, sender=self._sender, to=page.via.address or self._to)
        try:
            server = self._connect()
        except (smtplib.SMTPException, OSError) as exc:
            return _answer(exc)
        try:
            server.send_message(mail)
        except (smtplib.SMTPException, OSError) as exc:
            return _answer(exc)
        except ValueError as exc:
            return Answer(Verdict.REFUSED, f"cannot be written as a mail: {exc}")
        else:
            return TAKEN
        finally:
            _leave(server)

    def close(self) -> None:
        return

    def _connect(self) -> smtplib.SMTP:
        """A session, encrypted and logged in as configured."""
        where, timeout_s = (self._host, self._port), self._timeout_s
        if self._security == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=timeout_s, context=context)
        else:
            server = smtplib.SMTP(*where, timeout=timeout_s)
        try:
            if self._security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if self._login[0]:
                server.login(*self._login)
        except BaseException:
            server.close()
            raise
        return server


def letter(page: Page, *, sender: str, to: str) -> EmailMessage:
    """A plain text. All mails of one subject are one conversation; a mail repeated has the same
    Message-ID, so that a mailbox may show it once."""
    content = page.content
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, to
    subject = f"[{content.severity}] {_EVENTS[page.event]}{content.summary}"
    mail["Subject"] = " ".join(subject.split())[:_SUBJECT_CHARS]
    mail["Date"] = format_datetime(datetime.fromtimestamp(page.created_ms / 1000, tz=UTC))
    domain = sender.rpartition("@")[2].strip("> ")
    thread = f"<{''.join(c if c.isalnum() else '-' for c in page.key)}@{domain}>"
    mail["Message-ID"] = f"<{page.page_id}@{domain}>"
    mail["References"] = mail["In-Reply-To"] = thread
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Tillstream-Dedup-Key"] = " ".join(page.key.split())
    details = [f"{name.replace('_', ' ')}: {value}" for name, value in content.details.items()]
    links = [f"{text}: {href}" for href, text in content.links]
    parts = [content.summary, page.note, "\n".join(details), "\n".join(links)]
    mail.set_content("\n\n".join(part for part in parts if part) + "\n")
    return mail


def _answer(exc: Exception) -> Answer:
    """What the server said, or why it said nothing."""
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        [(code, said), *_] = exc.recipients.values()
        verdict = Verdict.LATER if 400 <= code < 500 else Verdict.REFUSED
        return Answer(verdict, f"SMTP {code}: {_text(said)}")
    if isinstance(exc, smtplib.SMTPAuthenticationError):
        return Answer(Verdict.BROKEN, f"the login is refused: SMTP {exc.smtp_code}")
    if isinstance(exc, smtplib.SMTPResponseException):
        verdict = Verdict.LATER if 400 <= exc.smtp_code < 500 else Verdict.REFUSED
        return Answer(verdict, f"SMTP {exc.smtp_code}: {_text(exc.smtp_error)}")
    if isinstance(exc, smtplib.SMTPNotSupportedError):
        return Answer(Verdict.BROKEN, str(exc))
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Answer(Verdict.BROKEN, f"its certificate is refused: {exc.verify_message}")
    # smtplib hides it in an exception of its own.
    if isinstance(exc, TimeoutError) or isinstance(exc.__context__, TimeoutError):
        return Answer(Verdict.LATER, "no answer in time")
    return Answer(Verdict.LATER, f"the connection broke ({type(exc).__name__})")


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]


def _leave(server: smtplib.SMTP) -> None:
    """What goes wrong now changes nothing: the mail was answered."""
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        server.close()
