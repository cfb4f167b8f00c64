"""Settings of the queue, and the limits per user."""

from pydantic_settings import BaseSettings

from shared.setting_fields.define import Seconds, setting


class QueueFields(BaseSettings):
    """How jobs are leased, scheduled and limited."""

    lease_seconds: Seconds = setting(
        "QUIRE_LEASE_SECONDS",
        "a job's lease: a worker without a heartbeat for this long loses its job; at least two "
        "heartbeats",
        60.0,
    )
    heartbeat_seconds: Seconds = setting(
        "QUIRE_HEARTBEAT_SECONDS", "the interval at which a worker renews its lease", 10.0
    )
    sweep_seconds: Seconds = setting(
        "QUIRE_SWEEP_SECONDS", "the interval at which lost jobs and wakes are searched for", 5.0
    )
    max_attempts: int = setting(
        "QUIRE_MAX_ATTEMPTS", "attempts without progress after which a job fails", 3, ge=1, le=100
    )
    quantum_seconds: Seconds = setting(
        "QUIRE_QUANTUM_SECONDS",
        "device time charged when a job is claimed; after it a training yields to waiting jobs",
        300.0,
    )
    half_life_seconds: float = setting(
        "QUIRE_HALF_LIFE_SECONDS",
        "the time after which used device time counts half",
        86_400.0,
        gt=0,
        le=3.2e7,
    )
    max_running_per_user: int = setting(
        "QUIRE_MAX_RUNNING_PER_USER",
        "trainings of one user that run at the same time",
        2,
        ge=1,
        le=1000,
    )
    max_queued_per_user: int = setting(
        "QUIRE_MAX_QUEUED_PER_USER",
        "jobs of one user that are queued or paused",
        1000,
        ge=1,
        le=1_000_000,
    )
    max_device_seconds_per_day: float | None = setting(
        "QUIRE_MAX_DEVICE_SECONDS_PER_DAY",
        "device time of one user per day (UTC)",
        None,
        default_text="unlimited",
        ge=0,
        le=1e9,
    )
    max_stored_bytes_per_user: int = setting(
        "QUIRE_MAX_STORED_BYTES_PER_USER",
        "corpora and checkpoints of one user",
        20 * 1024**3,
        ge=0,
        le=2**60,
    )
    max_corpora_bytes_per_user: int = setting(
        "QUIRE_MAX_CORPORA_BYTES_PER_USER", "corpora of one user", 2 * 1024**3, ge=0, le=2**60
    )
    max_keys_per_user: int = setting(
        "QUIRE_MAX_KEYS_PER_USER",
        "API keys of one user, without revoked and expired ones",
        50,
        ge=1,
        le=10_000,
    )
    max_shares_per_user: int = setting(
        "QUIRE_MAX_SHARES_PER_USER",
        "links of `quire share` of one user, without expired ones",
        500,
        ge=0,
        le=100_000,
    )
    max_corpora_per_user: int = setting(
        "QUIRE_MAX_CORPORA_PER_USER", "corpora of one user, in number", 1000, ge=0, le=1_000_000
    )
    max_models_per_user: int = setting(
        "QUIRE_MAX_MODELS_PER_USER", "models of one user, in number", 2000, ge=0, le=1_000_000
    )
    max_members_per_group: int = setting(
        "QUIRE_MAX_MEMBERS_PER_GROUP", "members and teachers of one group", 500, ge=1, le=100_000
    )
    max_users_per_teacher: int = setting(
        "QUIRE_MAX_USERS_PER_TEACHER",
        "users whom one teacher may make for groups, including disabled ones",
        200,
        ge=0,
        le=100_000,
    )
