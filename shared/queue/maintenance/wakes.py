"""Find jobs whose wake was lost: they wait although a worker may be idle."""

from datetime import timedelta

from sqlalchemy import select, text

from shared import worker_registry
from shared.queue.base import QueueBase
from shared.queue.types import WaitingJob
from shared.tables import KINDS, RUNNABLE, Job


class LostWakes(QueueBase):
    """Detection of jobs whose wake was lost."""

    def waiting(self, seconds: float) -> list[WaitingJob]:
        """Return one job of each kind that has been runnable for at least `seconds`."""
        found = []
        with self.engine.connect() as connection:
            now = self.clock(connection)
            for kind in KINDS:
                row = connection.execute(
                    select(Job.id, Job.created_at)
                    .where(Job.kind == kind, text(RUNNABLE))
                    .where(Job.created_at < now - timedelta(seconds=seconds))
                    .limit(1)
                ).one_or_none()
                if row is not None:
                    idle = worker_registry.count_ready(
                        connection, kind, now, self.settings.lease_seconds, idle=True
                    )
                    found.append(WaitingJob(row.id, kind, row.created_at, idle))
        return found
