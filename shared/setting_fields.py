"""Every setting: its variable, its default, its bounds, and what it is for.

`make settings` writes docs/settings.md from here; shared/settings.py reads and checks them.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

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


def _setting(
    variable: str, about: str, *default: Any, said: str | None = None, **rules: Any
) -> Any:
    """A field of `Settings`.

    Args:
        variable: Of the environment.
        about: Its line in docs/settings.md, which `make settings` writes.
        default: Its value where the variable is not set; or `default_factory` among the rules.
        said: The default in words, where it depends on the machine.
        rules: As for `Field`.
    """
    shown: dict[str, Any] = {"default": said}
    return Field(
        *default, validation_alias=variable, description=about, json_schema_extra=shown, **rules
    )


class Fields(BaseSettings):
    """The fields of `shared.settings.Settings`."""

    # Where the state is.
    database_url: SecretStr | None = _setting(
        "DATABASE_URL",
        "`postgresql://…` or `sqlite:///…`: where everything that must not be lost is kept",
        None,
        said="SQLite in the data directory",
    )
    redis_url: SecretStr | None = _setting(
        "REDIS_URL",
        "`redis://…`, `rediss://…` or `unix://…`; `quire up` and `quire demo` start their own",
        None,
        said="none",
    )
    data_dir: Path = _setting(
        "QUIRE_DATA_DIR", "of `quire up` and `quire demo`: all that they keep", Path("~/.quire")
    )

    # The queue.
    lease_seconds: Seconds = _setting(
        "QUIRE_LEASE_SECONDS",
        "a worker that was not heard of for so long has lost its job; at least two heartbeats",
        60.0,
    )
    heartbeat_seconds: Seconds = _setting(
        "QUIRE_HEARTBEAT_SECONDS", "how often a worker renews its lease", 10.0
    )
    sweep_seconds: Seconds = _setting(
        "QUIRE_SWEEP_SECONDS", "how often lost jobs and lost wakes are looked for", 5.0
    )
    max_attempts: int = _setting(
        "QUIRE_MAX_ATTEMPTS", "a job fails after so many without progress", 3, ge=1, le=100
    )
    quantum_seconds: Seconds = _setting(
        "QUIRE_QUANTUM_SECONDS",
        "device time charged at the claim, after which a training gives way to who waits",
        300.0,
    )
    half_life_seconds: float = _setting(
        "QUIRE_HALF_LIFE_SECONDS", "in which used device time counts half", 86_400.0, gt=0, le=3.2e7
    )
    max_running_per_user: int = _setting(
        "QUIRE_MAX_RUNNING_PER_USER", "trainings of one user at once", 2, ge=1, le=1000
    )
    max_queued_per_user: int = _setting(
        "QUIRE_MAX_QUEUED_PER_USER", "jobs that wait or are paused", 1000, ge=1, le=1_000_000
    )
    max_device_seconds_per_day: float | None = _setting(
        "QUIRE_MAX_DEVICE_SECONDS_PER_DAY",
        "device time of one user from midnight to midnight, UTC",
        None,
        said="no bound",
        ge=0,
        le=1e9,
    )
    max_stored_bytes_per_user: int = _setting(
        "QUIRE_MAX_STORED_BYTES_PER_USER", "corpora and checkpoints", 20 * 1024**3, ge=0, le=2**60
    )
    max_corpora_bytes_per_user: int = _setting(
        "QUIRE_MAX_CORPORA_BYTES_PER_USER", "corpora alone", 2 * 1024**3, ge=0, le=2**60
    )

    # The API.
    api_host: str = _setting("QUIRE_API_HOST", "the address to listen on", "127.0.0.1")
    api_port: int = _setting("QUIRE_API_PORT", "the port; 0 takes a free one", 8420, ge=0, le=65535)
    # Python runs one of its threads at a time. On one core they hand over at once; on several each
    # wakes another core first, and less than half as many requests are answered.
    api_one_core: bool = _setting(
        "QUIRE_API_ONE_CORE", "keep the API to one core, where it answers most requests", True
    )
    api_threads: int = _setting(
        "QUIRE_API_THREADS", "requests that are worked on at once", 32, ge=2, le=512
    )
    wait_max_seconds: Seconds = _setting(
        "QUIRE_WAIT_MAX_SECONDS", "the longest `Prefer: wait`", 30.0
    )
    wait_slots: int = _setting(
        "QUIRE_WAIT_SLOTS", "requests that may wait for texts at once", 8, ge=0, le=256
    )
    max_listeners: int = _setting(
        "QUIRE_MAX_LISTENERS", "who follows a job at once; each holds a thread", 512, ge=0, le=4096
    )
    max_corpus_bytes: int = _setting(
        "QUIRE_MAX_CORPUS_BYTES", "one upload", 128 * 1024**2, ge=1024, le=2**31 - 1
    )

    # The workers. Thread and shard counts are written into each training at submit,
    # because another count gives other bits.
    devices: str = _setting(
        "QUIRE_DEVICES", "`auto` (all GPUs, else the CPU), or a list: `cpu`, `cpu:N`, `gpu:N`, a "
        "GPU's UUID", "auto",
    )  # fmt: skip
    host_name: str = _setting(
        "QUIRE_HOST_NAME",
        "what this machine is called; another name for each machine",
        said="its own name",
        default_factory=socket.gethostname,
        min_length=1,
    )
    train_threads: int = _setting(
        "QUIRE_TRAIN_THREADS",
        "of a training on a CPU: the API writes it into the job, and workers want the same",
        said="one for each core",
        default_factory=cores,
        ge=1,
        le=256,
    )
    train_shards: int = _setting(
        "QUIRE_TRAIN_SHARDS",
        "parts of a batch that run side by side; the API writes it into the job",
        said="2, or 1 on one core",
        default_factory=lambda: min(2, cores()),
        ge=1,
        le=16,
    )
    generate_threads: int = _setting(
        "QUIRE_GENERATE_THREADS",
        "batches of texts that are written at once on a CPU, a thread each; a GPU has one",
        said="one for each core",
        default_factory=cores,
        ge=1,
        le=256,
    )
    generate_jobs: int = _setting(
        "QUIRE_GENERATE_JOBS", "generations that a worker holds at once", 128, ge=1, le=10_000
    )
    loaded_bytes: int = _setting(
        "QUIRE_LOADED_BYTES",
        "networks that a worker for texts keeps in memory, beside those that write",
        512 * 1024**2,
        ge=0,
        le=2**50,
    )
    train_memory_bytes: int = _setting(
        "QUIRE_TRAIN_MEMORY_BYTES",
        "what a training may take; the API asks before it queues one, so set it where workers have "
        "more or less than the API's machine",
        said=f"{TRAIN_MEMORY_SHARE:g} of the memory",
        default_factory=lambda: int(memory_bytes() * TRAIN_MEMORY_SHARE),
        ge=1024**2,
    )
    train_max_seconds: float = _setting(
        "QUIRE_TRAIN_MAX_SECONDS", "a longer training is refused", 7 * 24 * 3600.0, gt=0, le=3.2e7
    )
    gpu_memory_share: float | None = _setting(
        "QUIRE_GPU_MEMORY_SHARE",
        "of a GPU's memory, for each of its two workers",
        None,
        said="as it is needed",
        gt=0,
        le=1,
    )
    # Longer than any one call into TensorFlow: a compilation, the judging of a held-out tail.
    hung_seconds: Seconds = _setting(
        "QUIRE_HUNG_SECONDS", "a run that shows no life for so long is ended", 600.0
    )
    failpoint: str | None = _setting(
        "QUIRE_FAILPOINT", "for tests alone: where a worker dies", None, said="none", min_length=1
    )

    # Logs.
    log_format: Literal["auto", "json", "text"] = _setting(
        "QUIRE_LOG_FORMAT", "`auto`: text on a terminal, else JSON", "auto"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "QUIRE_LOG_LEVEL", "the least that is logged", "info"
    )

    # The client, and where example texts lie.
    client_url: str | None = _setting(
        "QUIRE_URL", "the server's address", None, said="as `quire login` saved it"
    )
    client_key: SecretStr | None = _setting(
        "QUIRE_KEY", "the API key", None, said="as `quire login` saved it"
    )
    corpus_dir: Path | None = _setting(
        "QUIRE_CORPUS_DIR", "where `quire demo` looks for `nietzsche.txt`", None, said="none"
    )
    config_home: Path = _setting(
        "XDG_CONFIG_HOME", "in it `quire login` keeps address and key", Path("~/.config")
    )
    runtime_dir: Path | None = _setting(
        "XDG_RUNTIME_DIR",
        "for the socket of `quire up`'s Redis, where the data directory's path is too long",
        None,
        said="none",
    )
