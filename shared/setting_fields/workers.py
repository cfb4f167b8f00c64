"""Settings of the workers."""

import socket
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings

from shared.setting_fields.define import Seconds, setting
from shared.setting_fields.machine import cores, memory_bytes

#: A number of slots; None for ``auto``.
Slots = Annotated[int | None, BeforeValidator(lambda value: None if value == "auto" else value)]
#: The share of the memory that one training may use.
TRAIN_MEMORY_SHARE = 0.75


class WorkerFields(BaseSettings):
    """How jobs are run."""

    # The workers. Thread and shard counts are stored with each training when it is submitted,
    # because other counts give other bits.
    devices: str = setting(
        "QUIRE_DEVICES", "`auto` (all GPUs, or the CPU if there is none), `gpu` (all GPUs; at "
        "least one), or a list of `cpu`, `cpu:N`, `gpu:N`, `gpu:N.M` (a MIG slice) and "
        "UUIDs of GPUs or slices", "auto",
    )  # fmt: skip
    host_name: str = setting(
        "QUIRE_HOST_NAME",
        "the name of this machine, unique among machines",
        default_text="its host name",
        default_factory=socket.gethostname,
        min_length=1,
    )
    train_slots: Slots = setting(
        "QUIRE_TRAIN_SLOTS",
        "trainings that run on a device at once, each with its part of a GPU's memory and charged "
        "its part of the device's seconds; `auto`: as many as a GPU's memory is good for, 1 on a "
        "CPU",
        None,
        default_text="`auto`",
        ge=1,
        le=16,
    )
    train_threads: int = setting(
        "QUIRE_TRAIN_THREADS",
        "threads of a training on a CPU; the API stores the number with the job, and workers must "
        "have the same",
        default_text="one per core",
        default_factory=lambda: cores(),
        ge=1,
        le=256,
    )
    train_shards: int = setting(
        "QUIRE_TRAIN_SHARDS",
        "parts of a batch that run in parallel; the API stores the number with the job",
        default_text="2, or 1 on one core",
        default_factory=lambda: min(2, cores()),
        ge=1,
        le=16,
    )
    generate_threads: int = setting(
        "QUIRE_GENERATE_THREADS",
        "batches that generate texts in parallel on a CPU, one thread each; a GPU runs one batch",
        default_text="one per core",
        default_factory=lambda: cores(),
        ge=1,
        le=256,
    )
    generate_jobs: int = setting(
        "QUIRE_GENERATE_JOBS", "generations that a worker runs together", 128, ge=1, le=10_000
    )
    loaded_bytes: int = setting(
        "QUIRE_LOADED_BYTES",
        "memory for idle networks that a generation worker keeps loaded",
        512 * 1024**2,
        ge=0,
        le=2**50,
    )
    warm_models: int = setting(
        "QUIRE_WARM_MODELS",
        "how many of the newest models a generation worker loads and compiles before its first "
        "job; more than QUIRE_LOADED_BYTES holds are compiled for nothing. With 0, no worker "
        "compiles anything first (on a GPU it still measures what the CPU writes sooner): workers "
        "are ready sooner, and their first jobs wait for the compiler",
        4,
        ge=0,
        le=100,
    )
    generate_memory_bytes: int = setting(
        "QUIRE_GENERATE_MEMORY_BYTES",
        "memory that the networks of a worker's running generations may take together, each twice "
        "the size of its checkpoint; other networks wait. The API refuses generations of a network "
        "that alone takes more, so set it if the workers' machines have more or less than the "
        "API's",
        default_text=f"{TRAIN_MEMORY_SHARE:.0%} of the memory",
        default_factory=lambda: int(memory_bytes() * TRAIN_MEMORY_SHARE),
        ge=1024,
    )
    train_memory_bytes: int = setting(
        "QUIRE_TRAIN_MEMORY_BYTES",
        "memory that the trainings of a device may use together; the API checks a training's part "
        "before it queues one, so set it if the workers' machines have more or less than the API's",
        default_text=f"{TRAIN_MEMORY_SHARE:.0%} of the memory",
        default_factory=lambda: int(memory_bytes() * TRAIN_MEMORY_SHARE),
        ge=1024**2,
    )
    train_max_seconds: float = setting(
        "QUIRE_TRAIN_MAX_SECONDS",
        "the longest training that is accepted",
        7 * 24 * 3600.0,
        gt=0,
        le=3.2e7,
    )
    gpu_memory_share: float | None = setting(
        "QUIRE_GPU_MEMORY_SHARE",
        "share of a GPU's memory for its trainings, and the same for its generations",
        None,
        default_text="grows as needed",
        gt=0,
        le=1,
    )
    device_faults: int = setting(
        "QUIRE_DEVICE_FAULTS",
        "so many errors of a device within QUIRE_DEVICE_FAULT_SECONDS quarantine it",
        3,
        ge=1,
        le=50,
    )
    device_fault_seconds: Seconds = setting(
        "QUIRE_DEVICE_FAULT_SECONDS", "for how long an error of a device counts", 600.0
    )
    device_quarantine_seconds: Seconds = setting(
        "QUIRE_DEVICE_QUARANTINE_SECONDS",
        "how long a quarantined device takes no jobs before it is probed again",
        1800.0,
    )
    # Longer than any single call into TensorFlow, such as a compilation or a validation.
    hung_seconds: Seconds = setting(
        "QUIRE_HUNG_SECONDS", "a run without a sign of life for this long is aborted", 600.0
    )
    failpoint: str | None = setting(
        "QUIRE_FAILPOINT",
        "for tests only: the point at which a worker dies",
        None,
        default_text="none",
        min_length=1,
    )
