"""Every setting of every part, read from the environment once and checked at start.

This module is the only reader of the environment. A bad value stops the
program with the variable's name, its value and what is allowed.
"""

import difflib
import os
import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "QUIRE_"
#: Read by the test suite and by scripts, never by the product.
FOREIGN_PREFIXES = ("QUIRE_TEST_",)
SECRET_VARIABLES = frozenset({"DATABASE_URL", "REDIS_URL", "QUIRE_KEY"})

#: The bound of a container's memory.
CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")
#: Of the memory, for one training; the rest is for everything else on the machine.
TRAIN_MEMORY_SHARE = 0.75

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """How much memory this machine, or the container it is, has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(CONTAINER_MEMORY.read_text()))
    except (OSError, ValueError):
        # No control group, or `max`: none is set.
        return whole


class SettingsError(Exception):
    """A setting has a value that is not allowed; the message names variable, value and rule."""


def _variable(name: str) -> str:
    return name if name in {"DATABASE_URL", "REDIS_URL"} else PREFIX + name


class Settings(BaseSettings):
    """The settings of one process. Frozen: a process never changes its mind."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True
    )

    # Where the state is.
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    redis_url: SecretStr | None = Field(None, validation_alias="REDIS_URL")
    data_dir: Path = Field(Path("~/.quire"), validation_alias=_variable("DATA_DIR"))

    # The queue.
    lease_seconds: Seconds = Field(60.0, validation_alias=_variable("LEASE_SECONDS"))
    heartbeat_seconds: Seconds = Field(10.0, validation_alias=_variable("HEARTBEAT_SECONDS"))
    sweep_seconds: Seconds = Field(5.0, validation_alias=_variable("SWEEP_SECONDS"))
    max_attempts: int = Field(3, ge=1, le=100, validation_alias=_variable("MAX_ATTEMPTS"))
    quantum_seconds: Seconds = Field(300.0, validation_alias=_variable("QUANTUM_SECONDS"))
    half_life_seconds: float = Field(
        86_400.0, gt=0, le=3.2e7, validation_alias=_variable("HALF_LIFE_SECONDS")
    )
    max_running_per_user: int = Field(
        2, ge=1, le=1000, validation_alias=_variable("MAX_RUNNING_PER_USER")
    )
    max_queued_per_user: int = Field(
        1000, ge=1, le=1_000_000, validation_alias=_variable("MAX_QUEUED_PER_USER")
    )
    max_device_seconds_per_day: float | None = Field(
        None, ge=0, le=1e9, validation_alias=_variable("MAX_DEVICE_SECONDS_PER_DAY")
    )
    max_stored_bytes_per_user: int = Field(
        20 * 1024**3, ge=0, le=2**60, validation_alias=_variable("MAX_STORED_BYTES_PER_USER")
    )
    max_corpora_bytes_per_user: int = Field(
        2 * 1024**3, ge=0, le=2**60, validation_alias=_variable("MAX_CORPORA_BYTES_PER_USER")
    )

    # The API.
    api_host: str = Field("127.0.0.1", validation_alias=_variable("API_HOST"))
    api_port: int = Field(8420, ge=0, le=65535, validation_alias=_variable("API_PORT"))
    #: Python runs one of its threads at a time. On one core they hand over at once; on several each
    #: wakes another core first, and less than half as many requests are answered.
    api_one_core: bool = Field(True, validation_alias=_variable("API_ONE_CORE"))
    api_threads: int = Field(32, ge=2, le=512, validation_alias=_variable("API_THREADS"))
    wait_max_seconds: Seconds = Field(30.0, validation_alias=_variable("WAIT_MAX_SECONDS"))
    wait_slots: int = Field(8, ge=0, le=256, validation_alias=_variable("WAIT_SLOTS"))
    #: Each holds a thread of the API.
    max_listeners: int = Field(512, ge=0, le=4096, validation_alias=_variable("MAX_LISTENERS"))
    max_corpus_bytes: int = Field(
        128 * 1024 * 1024, ge=1024, le=2**31 - 1, validation_alias=_variable("MAX_CORPUS_BYTES")
    )

    # The workers. Thread and shard counts are written into each training at submit,
    # because another count gives other bits.
    devices: str = Field("auto", validation_alias=_variable("DEVICES"))
    host_name: str = Field(
        default_factory=socket.gethostname, min_length=1, validation_alias=_variable("HOST_NAME")
    )
    train_threads: int = Field(
        default_factory=cores, ge=1, le=256, validation_alias=_variable("TRAIN_THREADS")
    )
    train_shards: int = Field(
        default_factory=lambda: min(2, cores()),
        ge=1,
        le=16,
        validation_alias=_variable("TRAIN_SHARDS"),
    )
    generate_threads: int = Field(
        default_factory=cores, ge=1, le=256, validation_alias=_variable("GENERATE_THREADS")
    )
    generate_jobs: int = Field(128, ge=1, le=10_000, validation_alias=_variable("GENERATE_JOBS"))
    loaded_bytes: int = Field(
        512 * 1024**2, ge=0, le=2**50, validation_alias=_variable("LOADED_BYTES")
    )
    #: What a training may take. The API asks before it queues one; workers on other machines may
    #: have more or less than this one, and then these want to be set.
    train_memory_bytes: int = Field(
        default_factory=lambda: int(memory_bytes() * TRAIN_MEMORY_SHARE),
        ge=1024 * 1024,
        validation_alias=_variable("TRAIN_MEMORY_BYTES"),
    )
    train_max_seconds: float = Field(
        7 * 24 * 3600.0, gt=0, le=3.2e7, validation_alias=_variable("TRAIN_MAX_SECONDS")
    )
    gpu_memory_share: float | None = Field(
        None, gt=0, le=1, validation_alias=_variable("GPU_MEMORY_SHARE")
    )
    # Longer than any one call into TensorFlow: a compilation, the judging of a held-out tail.
    hung_seconds: Seconds = Field(600.0, validation_alias=_variable("HUNG_SECONDS"))
    # For tests alone, see worker/failpoints.py.
    failpoint: str | None = Field(None, min_length=1, validation_alias=_variable("FAILPOINT"))

    # Logs.
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", validation_alias=_variable("LOG_FORMAT")
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias=_variable("LOG_LEVEL")
    )

    # The client, and where example texts lie.
    client_url: str | None = Field(None, validation_alias=_variable("URL"))
    client_key: SecretStr | None = Field(None, validation_alias=_variable("KEY"))
    corpus_dir: Path | None = Field(None, validation_alias=_variable("CORPUS_DIR"))
    config_home: Path = Field(Path("~/.config"), validation_alias="XDG_CONFIG_HOME")
    runtime_dir: Path | None = Field(None, validation_alias="XDG_RUNTIME_DIR")

    @field_validator("data_dir", "corpus_dir", "config_home", "runtime_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        allowed = ("sqlite:///", "postgresql://", "postgresql+psycopg://", "postgres://")
        if value is not None and not value.get_secret_value().startswith(allowed):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_broker(cls, value: SecretStr | None) -> SecretStr | None:
        allowed = ("redis://", "rediss://", "unix://", "redis+socket://")
        if value is not None and not value.get_secret_value().startswith(allowed):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("client_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Self:
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError(
                f"QUIRE_LEASE_SECONDS is {self.lease_seconds:g} and QUIRE_HEARTBEAT_SECONDS is "
                f"{self.heartbeat_seconds:g}: a lease must last two heartbeats or more"
            )
        return self

    @property
    def database(self) -> str:
        """The database's address; the embedded SQLite file where none was set."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir}/quire.db"
        return self.database_url.get_secret_value()

    @property
    def broker(self) -> str:
        """The Redis address.

        Raises:
            SettingsError: None is set; only ``quire up`` and ``quire demo`` start their own.
        """
        if self.redis_url is None:
            raise SettingsError(
                "REDIS_URL is not set: give the address of a Redis server "
                "(redis://:password@host:6379/0), or use `quire up`, which starts its own"
            )
        return self.redis_url.get_secret_value()


def load_settings(**overrides: object) -> Settings:
    """Read the environment once.

    Args:
        overrides: Field values that win over the environment (command-line options).

    Raises:
        SettingsError: A value is not allowed, or a QUIRE_ variable is not a setting.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # the fields check themselves
    except ValidationError as error:
        raise SettingsError("\n".join(_lines(error))) from None


def variables() -> dict[str, str]:
    """Every environment variable that is a setting, with the field it sets."""
    return {
        str(field.validation_alias): name
        for name, field in Settings.model_fields.items()
        if field.validation_alias
    }


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
