"""Fingerprints: names of what the bits of a text depend on."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

from sqlalchemy import Connection, bindparam, select

from shared.prepared import Prepared
from shared.tables import Checkpoint, Device, Job

#: What computes a job's texts. It is read before the first characters are sent.
_USED_BY_JOB = Prepared(
    select(
        Job.worker_id,
        Checkpoint.digest,
        Device.id.label("device_id"),
        Device.versions,
        Device.gpu_name,
    )
    .select_from(Job)
    .outerjoin(Checkpoint, Checkpoint.id == Job.checkpoint_id)
    .outerjoin(Device, Device.id == Job.worker_id)
    .where(Job.id == bindparam("job"))
)


def fingerprint(connection: Connection, job_id: str) -> str:
    """Name what the bits of a job's texts depend on: the checkpoint, the worker, the versions."""
    used = _USED_BY_JOB.first(connection, {"job": job_id})
    facts = [
        _own_version(),
        used.digest,
        used.worker_id,
        None if used.device_id is None else [used.versions, used.gpu_name],
    ]
    return f"fp_{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}"


@cache
def _own_version() -> str:
    # Looked up once: it is read from files.
    return version("quire")


def combined(fingerprints: Sequence[str]) -> str:
    """Return the fingerprint of several jobs."""
    distinct = sorted(set(fingerprints))
    if len(distinct) == 1:
        return distinct[0]
    return f"fp_{hashlib.sha256(''.join(distinct).encode()).hexdigest()[:16]}"
