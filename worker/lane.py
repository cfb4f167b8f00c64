"""A lane: one kind of job on one device of this host, run by one Celery worker process."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.device_health import Quarantine
from shared.settings import Settings
from shared.tables import KINDS, Kind
from shared.worker_registry import WorkerInfo, worker_id
from worker.devices import LocalDevice

#: How the lanes of a GPU divide its memory, unless `QUIRE_GPU_MEMORY_SHARE` is set. It bounds which
#: trainings are accepted; the arenas themselves grow as needed.
GPU_SHARES: Mapping[Kind, float] = {"train": 0.7, "generate": 0.25}


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
    """

    host: str
    kind: Kind
    device: str
    cores: tuple[int, ...] = ()
    gpu_uuid: str | None = None
    gpu_name: str | None = None
    gpu_memory_bytes: int | None = None
    instance_id: str | None = None

    @classmethod
    def of(
        cls, host: str, kind: Kind, device: LocalDevice, instance_id: str | None = None
    ) -> "Lane":
        """The lane of a kind on a device."""
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
        )

    @property
    def worker_id(self) -> str:
        """The key of the worker's row in `devices`."""
        return worker_id(self.host, self.device, self.kind)

    @property
    def title(self) -> str:
        """What `ps` calls the processes of this lane."""
        return f"{self.kind} {self.device}"

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
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for `from_dict` in another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Lane":
        """The lane that `as_dict` was called on."""
        return cls(**{**values, "cores": tuple(values["cores"])})


def memory_part(lane: Lane, settings: Settings) -> int | None:
    """The part of a GPU's memory that a lane may use; None on a CPU."""
    if lane.gpu_memory_bytes is None:
        return None
    share = settings.gpu_memory_share or GPU_SHARES[lane.kind]
    return int(share * lane.gpu_memory_bytes)


def quarantine_rule(settings: Settings) -> Quarantine:
    """When errors quarantine a device, from the settings."""
    return Quarantine(
        faults=settings.device_faults,
        window_seconds=settings.device_fault_seconds,
        seconds=settings.device_quarantine_seconds,
    )


def _numbers(value: str) -> tuple[int, ...]:
    return tuple(int(number) for number in value.split(","))
