"""The settings of webhooks and mail are checked when a part starts."""

from pathlib import Path

import pytest

from shared.settings import SettingsError, load_settings

MAIL = {"smtp_url": "smtp://quire@mail.lab.example", "mail_from": "quire@lab.example"}


@pytest.mark.parametrize(
    ("fields", "variable"),
    [
        ({"webhook_allow": "10.0.0.0/8, https://hooks.lab"}, "QUIRE_WEBHOOK_ALLOW"),
        ({"webhook_allow": "10.0.0.1/8"}, "QUIRE_WEBHOOK_ALLOW"),
        ({"smtp_url": "mail.lab.example"}, "QUIRE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.lab.example"}, "QUIRE_MAIL_FROM"),
        ({**MAIL, "mail_from": "Quire <quire@lab.example>"}, "QUIRE_MAIL_FROM"),
        ({**MAIL, "smtp_password_file": "/nowhere"}, "QUIRE_SMTP_PASSWORD_FILE"),
        ({"smtp_password_file": "/nowhere"}, "QUIRE_SMTP_URL"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings(**fields)


def test_a_password_may_be_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("se/cret\n")
    found = load_settings(**MAIL, smtp_password_file=path, mail_domains="Lab.example, b.example")
    assert found.mail_server is not None
    assert found.mail_server.url == "smtp://quire:se%2Fcret@mail.lab.example"
    assert found.allowed_mail_domains == {"lab.example", "b.example"}
    assert "se/cret" not in repr(found)
    with pytest.raises(SettingsError) as refused:
        load_settings(smtp_url="http://quire:se/cret@mail")
    assert "se/cret" not in str(refused.value)


def test_without_settings_nothing_private_is_allowed_and_no_mail_is_sent() -> None:
    found = load_settings()
    assert found.address_policy.networks == ()
    assert found.mail_server is None
    assert found.allowed_origins == frozenset()
