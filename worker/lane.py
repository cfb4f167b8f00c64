"""A lane: one kind of job on one device of this host, run by one Celery worker process."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.device_health import Quarantine
from shared.settings import Settings
from shared.tables import KINDS, Kind
from shared.worker_registry import WorkerInfo, lane_name, worker_id
from worker.devices import LocalDevice

#: How the lanes of a GPU divide its memory, unless `QUIRE_GPU_MEMORY_SHARE` is set. It bounds which
#: trainings are accepted; the arenas themselves grow as needed, unless several trainings share a
#: card: then each has its part for itself from the start.
GPU_SHARES: Mapping[Kind, float] = {"train": 0.7, "generate": 0.25}
#: What each process takes of a shared card beside its arena: CUDA's context and its libraries. On
#: an H200 (CUDA 12.5, driver 580) it was 674 MiB after trainings.
CONTEXT_BYTES = 704 << 20
#: With `QUIRE_TRAIN_SLOTS=auto` a slot has at least so much of a card …
AUTO_SLOT_BYTES = 12 << 30
#: … and a card has at most so many.
AUTO_MOST_SLOTS = 4
#: With less, no network of a preset's size trains.
LEAST_SLOT_BYTES = 1 << 30
#: Errors of a device within so long are one, where several trainings share it: under MPS, a fault
#: of one process ends the others'.
FAULT_TOGETHER_SECONDS = 10.0


class BadSlots(ValueError):
    """A device can't be divided into as many slots as `QUIRE_TRAIN_SLOTS` says."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane, in values that fit a command line and Celery's configuration.

    Attributes:
        host: The host's name.
        kind: ``train`` or ``generate``.
        device: The device's name.
        cores: The cores that the lane is pinned to; empty allows all.
        gpu_uuid: The GPU; None on a CPU.
        gpu_name: The GPU's product name.
        gpu_memory_bytes: The GPU's memory.
        instance_id: The start of the supervisor; see shared/worker_instances.py.
        slot: Which of the device's lanes of this kind it is, from 0.
        slots: How many there are.
    """

    host: str
    kind: Kind
    device: str
    cores: tuple[int, ...] = ()
    gpu_uuid: str | None = None
    gpu_name: str | None = None
    gpu_memory_bytes: int | None = None
    instance_id: str | None = None
    slot: int = 0
    slots: int = 1

    @classmethod
    def of(
        cls,
        host: str,
        kind: Kind,
        device: LocalDevice,
        instance_id: str | None = None,
        slot: int = 0,
        slots: int = 1,
    ) -> "Lane":
        """A lane of a kind on a device."""
        gpu = device.gpu
        return cls(
            host=host,
            kind=kind,
            device=device.name,
            cores=device.cores or (),
            gpu_uuid=gpu.uuid if gpu else None,
            gpu_name=gpu.name if gpu else None,
            gpu_memory_bytes=gpu.memory_bytes if gpu else None,
            instance_id=instance_id,
            slot=slot,
            slots=slots,
        )

    @property
    def name(self) -> str:
        """The kind, and the slot unless it is the first: ``train``, ``train:1``."""
        return lane_name(self.kind, self.slot)

    @property
    def worker_id(self) -> str:
        """The key of the worker's row in `devices`."""
        return worker_id(self.host, self.device, self.kind, self.slot)

    @property
    def title(self) -> str:
        """What `ps` calls the processes of this lane."""
        return f"{self.name} {self.device}"

    def arguments(self) -> tuple[str, ...]:
        """The command line that `parse` reads."""
        arguments = ["--host", self.host, "--kind", self.kind, "--device", self.device]
        if self.cores:
            arguments += ["--cores", ",".join(map(str, self.cores))]
        if self.gpu_uuid is not None:
            arguments += ["--gpu-uuid", self.gpu_uuid, "--gpu-name", self.gpu_name or ""]
            arguments += ["--gpu-memory-bytes", str(self.gpu_memory_bytes)]
        if self.instance_id is not None:
            arguments += ["--instance-id", self.instance_id]
        if self.slots > 1:
            arguments += ["--slot", str(self.slot), "--slots", str(self.slots)]
        return tuple(arguments)

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> "Lane":
        """The lane that a command line describes; exits with a message if it is invalid."""
        parser = argparse.ArgumentParser(prog="python -m worker.celery_process")
        parser.add_argument("--host", required=True)
        parser.add_argument("--kind", required=True, choices=KINDS)
        parser.add_argument("--device", required=True)
        parser.add_argument("--cores", default=(), type=_numbers)
        parser.add_argument("--gpu-uuid")
        parser.add_argument("--gpu-name")
        parser.add_argument("--gpu-memory-bytes", type=int)
        parser.add_argument("--instance-id")
        parser.add_argument("--slot", default=0, type=int)
        parser.add_argument("--slots", default=1, type=int)
        return cls(**vars(parser.parse_args(arguments)))

    def describe(self, settings: Settings) -> WorkerInfo:
        """What the processes above the child register of the worker, which knows its versions."""
        return WorkerInfo(
            host=self.host,
            device=self.device,
            lane=self.kind,
            pid=os.getpid(),
            versions={},
            gpu_uuid=self.gpu_uuid,
            gpu_name=self.gpu_name,
            gpu_memory_bytes=memory_part(self, settings),
            instance_id=self.instance_id,
            slot=self.slot,
            slots=self.slots,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `from_dict` in another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Lane":
        """The lane that `as_dict` was called on."""
        return cls(**{**values, "cores": tuple(values["cores"])})


def memory_part(lane: Lane, settings: Settings) -> int | None:
    """The part of a GPU's memory that a lane may use, in bytes; None on a CPU."""
    if lane.gpu_memory_bytes is None:
        return None
    whole = int((settings.gpu_memory_share or GPU_SHARES[lane.kind]) * lane.gpu_memory_bytes)
    # A lane alone in its part leaves room for its context, since its arena only grows as needed.
    return whole if lane.slots == 1 else max(0, whole // lane.slots - CONTEXT_BYTES)


def memory_limit(lane: Lane, settings: Settings) -> int | None:
    """The bound of a lane's arena on its GPU, in bytes; None if it may grow as needed."""
    if settings.gpu_memory_share is None and lane.slots == 1:
        return None
    return memory_part(lane, settings)


def lanes_of(
    host: str, device: LocalDevice, settings: Settings, instance_id: str | None = None
) -> list[Lane]:
    """The lanes of a device: one for each of its train slots, and one that generates.

    Raises:
        BadSlots: A slot would have too little of the GPU's memory.
    """
    slots = train_slots(device, settings)
    trains = [Lane.of(host, "train", device, instance_id, slot, slots) for slot in range(slots)]
    part = memory_part(trains[0], settings)
    # The memory of a lost GPU is not known.
    if slots > 1 and part is not None and device.problem is None and part < LEAST_SLOT_BYTES:
        raise BadSlots(
            f"QUIRE_TRAIN_SLOTS: {slots} trainings on {device.name} would have {part >> 20} MiB of "
            f"its memory each, and need {LEAST_SLOT_BYTES >> 20}; use fewer slots"
        )
    return [*trains, Lane.of(host, "generate", device, instance_id)]


def train_slots(device: LocalDevice, settings: Settings) -> int:
    """How many trainings run on a device at once."""
    if settings.train_slots is not None:
        return settings.train_slots
    return (
        1 if device.gpu is None else auto_slots(device.gpu.memory_bytes, settings.gpu_memory_share)
    )


def auto_slots(memory_bytes: int, share: float | None = None) -> int:
    """How many trainings a GPU of so much memory is good for, given their share of it."""
    whole = int((share or GPU_SHARES["train"]) * memory_bytes)
    return max(1, min(AUTO_MOST_SLOTS, whole // (AUTO_SLOT_BYTES + CONTEXT_BYTES)))


def quarantine_rule(settings: Settings, *, of_gpu: bool) -> Quarantine:
    """When errors quarantine a device, from the settings."""
    return Quarantine(
        faults=settings.device_faults,
        window_seconds=settings.device_fault_seconds,
        seconds=settings.device_quarantine_seconds,
        together_seconds=FAULT_TOGETHER_SECONDS if of_gpu and settings.train_slots != 1 else 0.0,
    )


def _numbers(value: str) -> tuple[int, ...]:
    return tuple(int(number) for number in value.split(","))
