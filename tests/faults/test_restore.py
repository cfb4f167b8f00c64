"""restore: a backup of a server in the middle of work goes on elsewhere, to the same results."""

from pathlib import Path

import pytest

from quire.server.backup.making import make_backup
from quire.server.backup.restoring import restore_backup
from shared.settings import load_settings
from tests.faults.parts import assert_consistent, digest, train
from tests.services.postgres import PostgresServer
from tests.services.redis import RedisServer
from tests.worker.harness import WorkerHarness, make_harness, until

#: Long enough that a backup is made meanwhile.
EPOCHS = 20

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("failpoint_worker")
def test_what_ran_and_waited_ends_on_the_other_database_with_equal_results(
    failpoint_harness: WorkerHarness,
    postgres: PostgresServer,
    redis_of_session: RedisServer,
    tmp_path: Path,
) -> None:
    old = failpoint_harness
    job_id = train(old, epochs=EPOCHS)
    until(lambda: old.checkpoints(job_id), "a checkpoint")
    model_id = str(old.job(job_id).model_id)
    text_id = old.generate(
        model_id, n=3, length=200, checkpoint=old.checkpoints(job_id)[0].id,
        scheduling={"after_job_id": job_id},
    )  # fmt: skip
    manifest = make_backup(str(old.engine.url), tmp_path / "backup").manifest
    assert old.job(job_id).status == "running"
    old.wait_until_succeeded(job_id)
    old.wait_until_succeeded(text_id)
    with postgres.database("restored") as url:
        restored = restore_backup(
            tmp_path / "backup", load_settings(database_url=url, data_dir=tmp_path / "data")
        )
        assert (restored.requeued, manifest.database) == (1, "sqlite")
        new = make_harness(url, redis_of_session.url.replace("db=0", "db=3"), tmp_path)
        try:
            with new.worker(host="there"):
                new.wait_until_succeeded(job_id)
                new.wait_until_succeeded(text_id)
            assert new.job(job_id).attempt == 2
            assert digest(new, job_id) == digest(old, job_id)
            assert [text.text for text in new.texts(text_id)] == [
                text.text for text in old.texts(text_id)
            ]
            assert_consistent(new)
        finally:
            new.engine.dispose()
