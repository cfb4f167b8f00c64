"""Settings of the database, Redis and the data directory."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from shared.setting_fields.define import setting


class StorageFields(BaseSettings):
    """Where data is kept."""

    database_url: SecretStr | None = setting(
        "DATABASE_URL",
        "the database, `postgresql://…` or `sqlite:///…`; it holds all persistent data",
        None,
        default_text="SQLite in the data directory",
    )
    database_password_file: Path | None = setting(
        "DATABASE_PASSWORD_FILE",
        "a file that holds the password for `DATABASE_URL`, which then names none",
        None,
        default_text="none",
    )
    redis_url: SecretStr | None = setting(
        "REDIS_URL",
        "the Redis server, `redis://…`, `rediss://…` or `unix://…`; `quire up` and `quire demo` "
        "start their own",
        None,
        default_text="none",
    )
    redis_password_file: Path | None = setting(
        "REDIS_PASSWORD_FILE",
        "a file that holds the password for `REDIS_URL`, which then names none",
        None,
        default_text="none",
    )
    data_dir: Path = setting(
        "QUIRE_DATA_DIR", "the data directory of `quire up` and `quire demo`", Path("~/.quire")
    )
    deleted_days: float = setting(
        "QUIRE_DELETED_DAYS",
        "days for which a deleted model or corpus can be restored; until then it counts towards "
        "its owner's caps. 0 deletes for good at once",
        7.0,
        ge=0,
        le=366,
    )
    keep_jobs_days: float | None = setting(
        "QUIRE_KEEP_JOBS_DAYS",
        "days after which finished jobs are deleted that nothing refers to: no text, no "
        "checkpoint, no model, no waiting job",
        None,
        default_text="for ever",
        gt=0,
        le=36_500,
    )
    keep_texts_days: float | None = setting(
        "QUIRE_KEEP_TEXTS_DAYS",
        "days after which texts of finished jobs are deleted",
        None,
        default_text="for ever",
        gt=0,
        le=36_500,
    )
    keep_events_days: float | None = setting(
        "QUIRE_KEEP_EVENTS_DAYS",
        "days after its end for which the history of a job is kept",
        None,
        default_text="for ever",
        gt=0,
        le=36_500,
    )
    keep_metrics_days: float | None = setting(
        "QUIRE_KEEP_METRICS_DAYS",
        "days after its end for which the loss curves of a training are kept",
        None,
        default_text="for ever",
        gt=0,
        le=36_500,
    )
    min_free_bytes: int = setting(
        "QUIRE_MIN_FREE_BYTES",
        "free bytes on the disk of an SQLite database below which uploads are refused and "
        "checkpoints wait; 0 for no floor. The free disk of a PostgreSQL server is not known",
        512 * 1024**2,
        ge=0,
        le=2**50,
    )
