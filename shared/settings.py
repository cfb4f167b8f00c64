"""Settings of all parts, read from the environment once and checked at start.

No other module reads a setting from the environment, but for the client, which does without this
package: `quire/client/login.py` reads what it needs. An invalid value stops the program with
the name of the variable, its value and the rule.
"""

import difflib
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self

from pydantic import PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.notifications.addresses import AddressPolicy
from shared.notifications.mail import ADDRESS, SCHEMES, MailServer
from shared.password_files import insert_password, read_password
from shared.setting_fields import Fields

PREFIX = "QUIRE_"
#: Read by the test suite and by scripts, never by the product.
FOREIGN_PREFIXES = ("QUIRE_TEST_",)
#: An origin as browsers send it.
ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[1-9]\d{0,4})?")
SECRET_VARIABLES = frozenset(
    {"DATABASE_URL", "REDIS_URL", "QUIRE_KEY", "QUIRE_API_KEY", "QUIRE_SMTP_URL"}
)


class SettingsError(Exception):
    """A setting is invalid; the message names the variable, the value and the rule."""


class Settings(Fields):
    """The settings of one process, which never change while it runs."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True
    )
    _database_password: SecretStr | None = PrivateAttr(None)
    _redis_password: SecretStr | None = PrivateAttr(None)
    _smtp_password: SecretStr | None = PrivateAttr(None)

    @field_validator(
        "data_dir",
        "client_ca",
        "corpus_dir",
        "config_home",
        "runtime_dir",
        "database_password_file",
        "redis_password_file",
        "smtp_password_file",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        allowed = ("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")
        if value is not None and not value.get_secret_value().startswith(allowed):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_broker(cls, value: SecretStr | None) -> SecretStr | None:
        allowed = ("redis://", "rediss://", "unix://", "redis+socket://")
        if value is not None and not value.get_secret_value().startswith(allowed):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("client_url", "traces_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError(
                f"QUIRE_LEASE_SECONDS is {self.lease_seconds:g} and QUIRE_HEARTBEAT_SECONDS is "
                f"{self.heartbeat_seconds:g}: a lease must last two heartbeats or more"
            )
        return self

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.client_key and self.client_api_key and self.client_key != self.client_api_key:
            raise ValueError("QUIRE_KEY and QUIRE_API_KEY are both set, and differ: unset one")
        return self

    @model_validator(mode="after")
    def _read_passwords(self) -> Self:
        self._database_password = read_password(
            "DATABASE", self.database_password_file, self.database_url
        )
        self._redis_password = read_password("REDIS", self.redis_password_file, self.redis_url)
        self._smtp_password = read_password("QUIRE_SMTP", self.smtp_password_file, self.smtp_url)
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        _parse_networks(value)
        return value

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        return _parse_networks(self.trusted_proxies)

    @field_validator("webhook_allow")
    @classmethod
    def _allowed_addresses(cls, value: str) -> str:
        AddressPolicy.parse(_parse_list(value))
        return value

    @field_validator("smtp_url")
    @classmethod
    def _known_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        schemes = tuple(f"{scheme}://" for scheme in SCHEMES)
        if value is not None and not value.get_secret_value().startswith(schemes):
            raise ValueError(f"must start with {', '.join(schemes)}")
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_address(cls, value: str) -> str:
        if value and not ADDRESS.fullmatch(value):
            raise ValueError("must be an address such as quire@lab.example")
        return value

    @model_validator(mode="after")
    def _mails_come_from_somewhere(self) -> Self:
        if self.smtp_url is not None and not self.mail_from:
            raise ValueError("QUIRE_SMTP_URL is set and QUIRE_MAIL_FROM is not: set both")
        return self

    @property
    def address_policy(self) -> AddressPolicy:
        """Where webhooks may go."""
        return AddressPolicy.parse(_parse_list(self.webhook_allow))

    @property
    def mail_server(self) -> MailServer | None:
        """Where mails are handed in; None if the server sends none."""
        if self.smtp_url is None:
            return None
        return MailServer(insert_password(self.smtp_url, self._smtp_password), self.mail_from)

    @property
    def allowed_mail_domains(self) -> frozenset[str]:
        """The domains to whose addresses mails may go; none for all."""
        return frozenset(domain.lower() for domain in _parse_list(self.mail_domains))

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in _parse_list(value):
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: name each as browsers do, `https://host` or "
                    "`http://host:port`, in lower case and without a path"
                )
        return value

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of `cors_origins`."""
        return frozenset(_parse_list(self.cors_origins))

    @property
    def key_of_client(self) -> SecretStr | None:
        """The API key, by either of its names."""
        return self.client_key or self.client_api_key

    @property
    def database(self) -> str:
        """The database URL; by default the SQLite file in the data directory."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir}/quire.db"
        return insert_password(self.database_url, self._database_password)

    @property
    def broker(self) -> str:
        """The Redis URL.

        Raises:
            SettingsError: It is not set; only ``quire up`` and ``quire demo`` start a Redis.
        """
        if self.redis_url is None:
            raise SettingsError(
                "REDIS_URL is not set: set it to the URL of a Redis server "
                "(redis://:password@host:6379/0), or use `quire up`, which starts its own"
            )
        return insert_password(self.redis_url, self._redis_password)


def _parse_networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, _parse_list(value)))


def _parse_list(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def load_settings(**overrides: object) -> Settings:
    """Read and check the environment.

    Args:
        overrides: Field values that take precedence over the environment (command-line options).

    Raises:
        SettingsError: A value is invalid, or a QUIRE_ variable is not a setting.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks the values
    except ValidationError as error:
        raise SettingsError("\n".join(_lines(error))) from None


def wants_json_logs() -> bool:
    """Whether QUIRE_LOG_FORMAT asks for JSON, even while other settings are invalid."""
    return os.environ.get("QUIRE_LOG_FORMAT") == "json"


def variables() -> dict[str, str]:
    """Map the environment variable of each setting to its field."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def _refuse_unknown_variables() -> None:
    known = variables()
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name.startswith(FOREIGN_PREFIXES) or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"settings are {', '.join(sorted(known))}"
        raise SettingsError(f"{name} is not a setting of Quire: {hint}")


def _lines(error: ValidationError) -> list[str]:
    names = {field: variable for variable, field in variables().items()}
    lines = []
    for item in error.errors():
        if not item["loc"]:
            lines.append(item["msg"].removeprefix("Value error, "))
            continue
        place = str(item["loc"][0])
        variable = names.get(place, place)
        value = "(hidden)" if variable in SECRET_VARIABLES else repr(item["input"])
        rule = item["msg"].removeprefix("Value error, ")
        lines.append(f"{variable} is {value}: {rule[0].lower()}{rule[1:]}")
    return lines
