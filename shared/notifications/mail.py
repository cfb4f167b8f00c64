"""Send one mail through the server's SMTP settings."""

import re
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.notifications.webhook import Outcome

SEND_SECONDS = 15.0
SCHEMES = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
#: An address that every server takes. Others exist, and can be a webhook's job.
ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)
WORDS = {
    "job.succeeded": "has succeeded",
    "job.failed": "has failed",
    "job.cancelled": "was cancelled",
    "checkpoint.recorded": "has a new checkpoint",
}
KINDS = {"train": "training", "generate": "generation"}


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed in.

    Attributes:
        url: `smtp://USER:PASSWORD@HOST:PORT` (which must offer STARTTLS), `smtps://…` (TLS from the
            start), or `smtp+plain://…` (no encryption, for a server on this machine).
        sender: The address that mails come from.
    """

    url: str = field(repr=False)
    sender: str

    def send(self, recipient: str, event: str, payload: Mapping[str, Any], id: str) -> Outcome:
        """Send a mail once.

        Args:
            recipient: Its address.
            event: What it tells.
            payload: The message, as for a webhook.
            id: The delivery's id, by which mail programs know a repetition.
        """
        message = _message(self.sender, recipient, event, payload, id)
        try:
            with self._connect() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, text)] = error.recipients.values()
            return _refused(code, text)
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            return Outcome(None, f"the mail server can't be used: {error}"[:200])
        return Outcome(250, None)

    def _connect(self) -> smtplib.SMTP:
        parts = urlsplit(self.url)
        port = parts.port or SCHEMES[parts.scheme]
        host, context = parts.hostname or "", ssl.create_default_context()
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(host, port, timeout=SEND_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=SEND_SECONDS)
        try:
            if parts.scheme == "smtp":
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server


def _refused(code: int, text: bytes | str) -> Outcome:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    # 4xx says «later», 5xx «never».
    return Outcome(code, f"the mail server answered {code} {words}"[:200], is_final=code >= 500)


def _message(
    sender: str, recipient: str, event: str, payload: Mapping[str, Any], id: str
) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = sender, recipient
    message["Subject"] = _subject(event, payload)
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{id}@{sender.rpartition('@')[2]}>"
    # Programs that answer mails leave such a one alone.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(event, payload)) + "\n")
    return message


def _subject(event: str, payload: Mapping[str, Any]) -> str:
    job = payload["data"].get("job")
    if job is None:
        return "Quire: a test"
    return f"Quire: {KINDS[job['kind']]} {job['name']!r} {WORDS[event]}"


def _lines(event: str, payload: Mapping[str, Any]) -> list[str]:
    job, checkpoint = payload["data"].get("job"), payload["data"].get("checkpoint")
    if job is None:
        return ["This is the test that you asked for."]
    lines = [f"Your {KINDS[job['kind']]} {job['name']!r} {WORDS[event]}.", ""]
    if checkpoint is not None:
        lines.append(f"Step: {checkpoint['step']:,}")
        if checkpoint["val_loss"] is not None:
            lines.append(f"Validation loss: {checkpoint['val_loss']:.3f}")
    if job["error"] is not None:
        lines += [str(job["error"].get("detail", "")), ""]
    return [*lines, f"Job: {job['id']}", f"At: {payload['timestamp']}"]
