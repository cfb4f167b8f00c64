"""Settings of the HTTP API: its bounds, deadlines and seats."""

from pydantic_settings import BaseSettings

from shared.setting_fields.define import Seconds, setting


class ApiFields(BaseSettings):
    """How requests are served."""

    api_host: str = setting("QUIRE_API_HOST", "the address to listen on", "127.0.0.1")
    api_port: int = setting("QUIRE_API_PORT", "the port; 0 picks a free one", 8420, ge=0, le=65535)
    # Python runs one thread at a time. On one core the hand-over is immediate; on several it wakes
    # another core first, which more than halves the throughput.
    api_one_core: bool = setting(
        "QUIRE_API_ONE_CORE", "pin the API to one core, where its throughput is highest", True
    )
    api_threads: int = setting(
        "QUIRE_API_THREADS", "requests that are processed at the same time", 32, ge=2, le=512
    )
    requests_per_minute: int = setting(
        "QUIRE_REQUESTS_PER_MINUTE",
        "requests of one user in a minute; more are refused with 429 and Retry-After",
        120_000,
        ge=1,
        le=100_000_000,
    )
    creations_per_minute: int = setting(
        "QUIRE_CREATIONS_PER_MINUTE",
        "uploads, trainings, new users and new keys of one user in a minute, and enrolments that "
        "one address redeems; generations count as requests only",
        120,
        ge=1,
        le=100_000_000,
    )
    upload_memory_bytes: int = setting(
        "QUIRE_UPLOAD_MEMORY_BYTES",
        "memory for all uploads that the API works on at the same time, at four times the size of "
        "each; more are refused with 503 and Retry-After. One upload alone is always accepted",
        512 * 1024**2,
        ge=1024,
        le=2**50,
    )
    wait_max_seconds: Seconds = setting(
        "QUIRE_WAIT_MAX_SECONDS", "the longest wait that `Prefer: wait` may ask for", 30.0
    )
    openai_wait_seconds: Seconds = setting(
        "QUIRE_OPENAI_WAIT_SECONDS",
        "the longest that a request to `/openai/v1` that does not stream waits for its text; the "
        "stock clients give up after as long",
        600.0,
    )
    wait_slots: int = setting(
        "QUIRE_WAIT_SLOTS",
        "requests that may wait with `Prefer: wait` at the same time; while they are all taken, "
        "users share them equally",
        256,
        ge=0,
        le=4096,
    )
    max_listeners: int = setting(
        "QUIRE_MAX_LISTENERS",
        "open event streams; while they are all taken, users share them equally",
        512,
        ge=0,
        le=4096,
    )
    download_slots: int = setting(
        "QUIRE_DOWNLOAD_SLOTS",
        "files that are sent at the same time; while they are all taken, users share them equally",
        64,
        ge=0,
        le=1024,
    )
    api_processes: int = setting(
        "QUIRE_API_PROCESSES",
        "processes that accept from one socket; each has its own threads and connections to the "
        "database, and they divide the event streams, waits and downloads",
        1,
        ge=1,
        le=64,
    )
    max_connections: int = setting(
        "QUIRE_MAX_CONNECTIONS",
        "open connections of one process, at most what its file descriptors allow; beyond it, the "
        "connection that has waited longest without a complete request is closed",
        1200,
        ge=16,
        le=100_000,
    )
    head_seconds: Seconds = setting(
        "QUIRE_HEAD_SECONDS", "how long the head of a request may take", 10.0
    )
    body_seconds: Seconds = setting(
        "QUIRE_BODY_SECONDS", "how long a whole request may take to arrive", 600.0
    )
    min_body_rate: int = setting(
        "QUIRE_MIN_BODY_RATE",
        "the lowest average rate of a body, in bytes per second, after 10 seconds",
        1024,
        ge=0,
        le=2**30,
    )
    idle_seconds: Seconds = setting(
        "QUIRE_IDLE_SECONDS", "how long a connection may stay open without a request", 20.0
    )
    stall_seconds: Seconds = setting(
        "QUIRE_STALL_SECONDS", "how long a client may leave a response unread", 10.0
    )
    trusted_proxies: str = setting(
        "QUIRE_TRUSTED_PROXIES",
        "addresses or networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are "
        "believed, separated by commas",
        "",
        default_text="none",
    )
    cors_origins: str = setting(
        "QUIRE_CORS_ORIGINS",
        "origins whose pages may speak to `/v1` and `/openai/v1` with a key, separated by commas, "
        "such as `https://notes.example`; cookies of theirs are never taken",
        "",
        default_text="none",
    )
    session_seconds: float = setting(
        "QUIRE_SESSION_SECONDS",
        "how long a browser stays signed in to the page; its session ends earlier with its key",
        14 * 24 * 3600.0,
        ge=1,
        le=366 * 24 * 3600,
    )
    metrics_open: bool = setting(
        "QUIRE_METRICS_OPEN",
        "answer `/metrics` without a key; otherwise it needs one with the scope `metrics`",
        False,
    )
    metrics_port: int | None = setting(
        "QUIRE_METRICS_PORT",
        "another port of `QUIRE_API_HOST` that answers `/metrics`, without a key, and nothing else",
        None,
        default_text="none",
        ge=1,
        le=65535,
    )
    metrics_users: bool = setting(
        "QUIRE_METRICS_USERS",
        "show who has how many unfinished jobs in `/metrics` (`quire_user_jobs`)",
        False,
    )
    traces_url: str | None = setting(
        "QUIRE_TRACES_URL",
        "a collector of OpenTelemetry to which API and workers send traces of jobs (OTLP over "
        "HTTP), such as `http://127.0.0.1:4318`; needs the extra `otel`",
        None,
        default_text="none",
    )
    max_model_bytes: int = setting(
        "QUIRE_MAX_MODEL_BYTES", "the size of an imported model", 1024**3, ge=1024, le=2**31 - 1
    )
    max_corpus_bytes: int = setting(
        "QUIRE_MAX_CORPUS_BYTES", "the size of one upload", 128 * 1024**2, ge=1024, le=2**31 - 1
    )
