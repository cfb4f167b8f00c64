"""Settings of webhooks and mail."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from shared.setting_fields.define import setting


class NotificationFields(BaseSettings):
    """Where messages about jobs may go, and how mail leaves."""

    webhook_allow: str = setting(
        "QUIRE_WEBHOOK_ALLOW",
        "private addresses to which webhooks may go, besides all public ones: addresses, networks "
        "or names of hosts, separated by commas, such as `10.1.0.0/16, hooks.lab`",
        "",
        default_text="none",
    )
    smtp_url: SecretStr | None = setting(
        "QUIRE_SMTP_URL",
        "the server that takes mails: `smtp://user@host:587` (with STARTTLS), "
        "`smtps://user@host:465`, or `smtp+plain://host:25` without encryption",
        None,
        default_text="none",
    )
    smtp_password_file: Path | None = setting(
        "QUIRE_SMTP_PASSWORD_FILE",
        "a file that holds the password for `QUIRE_SMTP_URL`, which then names none",
        None,
        default_text="none",
    )
    mail_from: str = setting(
        "QUIRE_MAIL_FROM",
        "the address that mails come from, such as `quire@lab.example`; needed with "
        "`QUIRE_SMTP_URL`",
        "",
        default_text="none",
    )
    mail_domains: str = setting(
        "QUIRE_MAIL_DOMAINS",
        "domains to whose addresses mails may go, separated by commas",
        "",
        default_text="all",
    )
