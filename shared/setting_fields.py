"""All settings: variable, default, bounds and description.

`make settings` writes docs/settings.md from here; shared/settings.py reads and checks them.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from shared.container_limits import memory_limit, usable_cores

#: The share of the memory that one training may use.
TRAIN_MEMORY_SHARE = 0.75

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def cores(root: Path | None = None) -> int:
    """Count the processors that this process may use, within the quota of its container."""
    return usable_cores(root)


def memory_bytes(root: Path | None = None) -> int:
    """Return the memory of this machine, or the limit of its container."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, memory_limit(root) or whole)


def _setting(
    variable: str, about: str, *default: Any, default_text: str | None = None, **rules: Any
) -> Any:
    """Define a field of `Settings`.

    Args:
        variable: The environment variable.
        about: Its description in docs/settings.md.
        default: The value if the variable is not set; or give `default_factory` in `rules`.
        default_text: The default in words, if it depends on the machine.
        rules: Arguments of pydantic's `Field`.
    """
    extra: dict[str, Any] = {"default": default_text}
    return Field(
        *default, validation_alias=variable, description=about, json_schema_extra=extra, **rules
    )


class Fields(BaseSettings):
    """The fields of `shared.settings.Settings`."""

    # Storage.
    database_url: SecretStr | None = _setting(
        "DATABASE_URL",
        "the database, `postgresql://…` or `sqlite:///…`; it holds all persistent data",
        None,
        default_text="SQLite in the data directory",
    )
    database_password_file: Path | None = _setting(
        "DATABASE_PASSWORD_FILE",
        "a file that holds the password for `DATABASE_URL`, which then names none",
        None,
        default_text="none",
    )
    redis_url: SecretStr | None = _setting(
        "REDIS_URL",
        "the Redis server, `redis://…`, `rediss://…` or `unix://…`; `quire up` and `quire demo` "
        "start their own",
        None,
        default_text="none",
    )
    redis_password_file: Path | None = _setting(
        "REDIS_PASSWORD_FILE",
        "a file that holds the password for `REDIS_URL`, which then names none",
        None,
        default_text="none",
    )
    data_dir: Path = _setting(
        "QUIRE_DATA_DIR", "the data directory of `quire up` and `quire demo`", Path("~/.quire")
    )
    min_free_bytes: int = _setting(
        "QUIRE_MIN_FREE_BYTES",
        "free bytes on the disk of an SQLite database below which uploads are refused and "
        "checkpoints wait; 0 for no floor. The free disk of a PostgreSQL server is not known",
        512 * 1024**2,
        ge=0,
        le=2**50,
    )

    # The queue.
    lease_seconds: Seconds = _setting(
        "QUIRE_LEASE_SECONDS",
        "a job's lease: a worker without a heartbeat for this long loses its job; at least two "
        "heartbeats",
        60.0,
    )
    heartbeat_seconds: Seconds = _setting(
        "QUIRE_HEARTBEAT_SECONDS", "the interval at which a worker renews its lease", 10.0
    )
    sweep_seconds: Seconds = _setting(
        "QUIRE_SWEEP_SECONDS", "the interval at which lost jobs and wakes are searched for", 5.0
    )
    max_attempts: int = _setting(
        "QUIRE_MAX_ATTEMPTS", "attempts without progress after which a job fails", 3, ge=1, le=100
    )
    quantum_seconds: Seconds = _setting(
        "QUIRE_QUANTUM_SECONDS",
        "device time charged when a job is claimed; after it a training yields to waiting jobs",
        300.0,
    )
    half_life_seconds: float = _setting(
        "QUIRE_HALF_LIFE_SECONDS",
        "the time after which used device time counts half",
        86_400.0,
        gt=0,
        le=3.2e7,
    )
    max_running_per_user: int = _setting(
        "QUIRE_MAX_RUNNING_PER_USER",
        "trainings of one user that run at the same time",
        2,
        ge=1,
        le=1000,
    )
    max_queued_per_user: int = _setting(
        "QUIRE_MAX_QUEUED_PER_USER",
        "jobs of one user that are queued or paused",
        1000,
        ge=1,
        le=1_000_000,
    )
    max_device_seconds_per_day: float | None = _setting(
        "QUIRE_MAX_DEVICE_SECONDS_PER_DAY",
        "device time of one user per day (UTC)",
        None,
        default_text="unlimited",
        ge=0,
        le=1e9,
    )
    max_stored_bytes_per_user: int = _setting(
        "QUIRE_MAX_STORED_BYTES_PER_USER",
        "corpora and checkpoints of one user",
        20 * 1024**3,
        ge=0,
        le=2**60,
    )
    max_corpora_bytes_per_user: int = _setting(
        "QUIRE_MAX_CORPORA_BYTES_PER_USER", "corpora of one user", 2 * 1024**3, ge=0, le=2**60
    )
    max_keys_per_user: int = _setting(
        "QUIRE_MAX_KEYS_PER_USER", "API keys of one user, without revoked ones", 50, ge=1, le=10_000
    )
    max_corpora_per_user: int = _setting(
        "QUIRE_MAX_CORPORA_PER_USER", "corpora of one user, in number", 1000, ge=0, le=1_000_000
    )
    max_models_per_user: int = _setting(
        "QUIRE_MAX_MODELS_PER_USER", "models of one user, in number", 2000, ge=0, le=1_000_000
    )

    # The API.
    api_host: str = _setting("QUIRE_API_HOST", "the address to listen on", "127.0.0.1")
    api_port: int = _setting("QUIRE_API_PORT", "the port; 0 picks a free one", 8420, ge=0, le=65535)
    # Python runs one thread at a time. On one core the hand-over is immediate; on several it wakes
    # another core first, which more than halves the throughput.
    api_one_core: bool = _setting(
        "QUIRE_API_ONE_CORE", "pin the API to one core, where its throughput is highest", True
    )
    api_threads: int = _setting(
        "QUIRE_API_THREADS", "requests that are processed at the same time", 32, ge=2, le=512
    )
    requests_per_minute: int = _setting(
        "QUIRE_REQUESTS_PER_MINUTE",
        "requests of one user in a minute; more are refused with 429 and Retry-After",
        120_000,
        ge=1,
        le=100_000_000,
    )
    creations_per_minute: int = _setting(
        "QUIRE_CREATIONS_PER_MINUTE",
        "uploads, trainings, new users and new keys of one user in a minute; generations count as "
        "requests only",
        120,
        ge=1,
        le=100_000_000,
    )
    upload_memory_bytes: int = _setting(
        "QUIRE_UPLOAD_MEMORY_BYTES",
        "memory for all uploads that the API works on at the same time, at four times the size of "
        "each; more are refused with 503 and Retry-After. One upload alone is always accepted",
        512 * 1024**2,
        ge=1024,
        le=2**50,
    )
    wait_max_seconds: Seconds = _setting(
        "QUIRE_WAIT_MAX_SECONDS", "the longest wait that `Prefer: wait` may ask for", 30.0
    )
    wait_slots: int = _setting(
        "QUIRE_WAIT_SLOTS",
        "requests that may wait with `Prefer: wait` at the same time; while they are all taken, "
        "users share them equally",
        256,
        ge=0,
        le=4096,
    )
    max_listeners: int = _setting(
        "QUIRE_MAX_LISTENERS",
        "open event streams; while they are all taken, users share them equally",
        512,
        ge=0,
        le=4096,
    )
    download_slots: int = _setting(
        "QUIRE_DOWNLOAD_SLOTS",
        "files that are sent at the same time; while they are all taken, users share them equally",
        64,
        ge=0,
        le=1024,
    )
    api_processes: int = _setting(
        "QUIRE_API_PROCESSES",
        "processes that accept from one socket; each has its own threads and connections to the "
        "database, and they divide the event streams, waits and downloads",
        1,
        ge=1,
        le=64,
    )
    max_connections: int = _setting(
        "QUIRE_MAX_CONNECTIONS",
        "open connections of one process, at most what its file descriptors allow; beyond it, the "
        "connection that has waited longest without a complete request is closed",
        1200,
        ge=16,
        le=100_000,
    )
    head_seconds: Seconds = _setting(
        "QUIRE_HEAD_SECONDS", "how long the head of a request may take", 10.0
    )
    body_seconds: Seconds = _setting(
        "QUIRE_BODY_SECONDS", "how long a whole request may take to arrive", 600.0
    )
    min_body_rate: int = _setting(
        "QUIRE_MIN_BODY_RATE",
        "the lowest average rate of a body, in bytes per second, after 10 seconds",
        1024,
        ge=0,
        le=2**30,
    )
    idle_seconds: Seconds = _setting(
        "QUIRE_IDLE_SECONDS", "how long a connection may stay open without a request", 20.0
    )
    stall_seconds: Seconds = _setting(
        "QUIRE_STALL_SECONDS", "how long a client may leave a response unread", 10.0
    )
    trusted_proxies: str = _setting(
        "QUIRE_TRUSTED_PROXIES",
        "addresses or networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are "
        "believed, separated by commas",
        "",
        default_text="none",
    )
    max_corpus_bytes: int = _setting(
        "QUIRE_MAX_CORPUS_BYTES", "the size of one upload", 128 * 1024**2, ge=1024, le=2**31 - 1
    )

    # The workers. Thread and shard counts are stored with each training when it is submitted,
    # because other counts give other bits.
    devices: str = _setting(
        "QUIRE_DEVICES", "`auto` (all GPUs, or the CPU if there is none), or a list of `cpu`, "
        "`cpu:N`, `gpu:N` and UUIDs of GPUs", "auto",
    )  # fmt: skip
    host_name: str = _setting(
        "QUIRE_HOST_NAME",
        "the name of this machine, unique among machines",
        default_text="its host name",
        default_factory=socket.gethostname,
        min_length=1,
    )
    train_threads: int = _setting(
        "QUIRE_TRAIN_THREADS",
        "threads of a training on a CPU; the API stores the number with the job, and workers must "
        "have the same",
        default_text="one per core",
        default_factory=lambda: cores(),
        ge=1,
        le=256,
    )
    train_shards: int = _setting(
        "QUIRE_TRAIN_SHARDS",
        "parts of a batch that run in parallel; the API stores the number with the job",
        default_text="2, or 1 on one core",
        default_factory=lambda: min(2, cores()),
        ge=1,
        le=16,
    )
    generate_threads: int = _setting(
        "QUIRE_GENERATE_THREADS",
        "batches that generate texts in parallel on a CPU, one thread each; a GPU runs one batch",
        default_text="one per core",
        default_factory=lambda: cores(),
        ge=1,
        le=256,
    )
    generate_jobs: int = _setting(
        "QUIRE_GENERATE_JOBS", "generations that a worker runs together", 128, ge=1, le=10_000
    )
    loaded_bytes: int = _setting(
        "QUIRE_LOADED_BYTES",
        "memory for idle networks that a generation worker keeps loaded",
        512 * 1024**2,
        ge=0,
        le=2**50,
    )
    generate_memory_bytes: int = _setting(
        "QUIRE_GENERATE_MEMORY_BYTES",
        "memory that loading a network for generations may take; the API refuses generations of a "
        "larger one, so set it if the workers' machines have more or less than the API's",
        default_text=f"{TRAIN_MEMORY_SHARE:.0%} of the memory",
        default_factory=lambda: int(memory_bytes() * TRAIN_MEMORY_SHARE),
        ge=1024,
    )
    train_memory_bytes: int = _setting(
        "QUIRE_TRAIN_MEMORY_BYTES",
        "memory that a training may use; the API checks it before it queues one, so set it if the "
        "workers' machines have more or less than the API's",
        default_text=f"{TRAIN_MEMORY_SHARE:.0%} of the memory",
        default_factory=lambda: int(memory_bytes() * TRAIN_MEMORY_SHARE),
        ge=1024**2,
    )
    train_max_seconds: float = _setting(
        "QUIRE_TRAIN_MAX_SECONDS",
        "the longest training that is accepted",
        7 * 24 * 3600.0,
        gt=0,
        le=3.2e7,
    )
    gpu_memory_share: float | None = _setting(
        "QUIRE_GPU_MEMORY_SHARE",
        "share of a GPU's memory for each of its two workers",
        None,
        default_text="grows as needed",
        gt=0,
        le=1,
    )
    # Longer than any single call into TensorFlow, such as a compilation or a validation.
    hung_seconds: Seconds = _setting(
        "QUIRE_HUNG_SECONDS", "a run without a sign of life for this long is aborted", 600.0
    )
    failpoint: str | None = _setting(
        "QUIRE_FAILPOINT",
        "for tests only: the point at which a worker dies",
        None,
        default_text="none",
        min_length=1,
    )

    # Logs.
    log_format: Literal["auto", "json", "text"] = _setting(
        "QUIRE_LOG_FORMAT", "`auto` is text on a terminal and JSON elsewhere", "auto"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "QUIRE_LOG_LEVEL", "the lowest level that is logged", "info"
    )

    # The client, and the directory of example texts.
    client_url: str | None = _setting(
        "QUIRE_URL", "the server's URL", None, default_text="saved by `quire login`"
    )
    client_key: SecretStr | None = _setting(
        "QUIRE_KEY", "the API key", None, default_text="saved by `quire login`"
    )
    corpus_dir: Path | None = _setting(
        "QUIRE_CORPUS_DIR",
        "the directory in which `quire demo` looks for `nietzsche.txt`",
        None,
        default_text="none",
    )
    config_home: Path = _setting(
        "XDG_CONFIG_HOME",
        "the directory in which `quire login` saves the URL and the key",
        Path("~/.config"),
    )
    runtime_dir: Path | None = _setting(
        "XDG_RUNTIME_DIR",
        "the directory for the socket of `quire up`'s Redis, if the data directory's path is too "
        "long",
        None,
        default_text="none",
    )
