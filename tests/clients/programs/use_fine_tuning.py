"""`openai`: files, fine-tuning jobs, and their checkpoints as models."""

import asyncio
import json
import time

from openai import AsyncOpenAI, OpenAI

ITEMS = [f"Dear reader number {number}, the dog does not mind." for number in range(200)]
TINY = {"units": 16, "embedding": 8, "window": 16}

client = OpenAI(max_retries=0)
jobs = client.fine_tuning.jobs

lines = "".join(json.dumps({"text": text}) + "\n" for text in ITEMS)
file = client.files.create(file=("letters.jsonl", lines.encode()), purpose="fine-tune")
assert (file.filename, file.status, file.purpose) == ("letters.jsonl", "processed", "fine-tune")
assert client.files.retrieve(file.id) == file
assert client.files.content(file.id).text == "\n\n".join(ITEMS)
assert file.id in {each.id for each in client.files.list(limit=1)}

numbers = {"n_epochs": 1, "batch_size": 8, "learning_rate_multiplier": 1.0}
job = jobs.create(
    model="default",
    training_file=file.id,
    suffix="tuned",
    seed=3,
    hyperparameters=numbers,
    extra_body={"quire": TINY},
)
assert job.status in ("queued", "running")
deadline = time.monotonic() + 100
while job.status not in ("succeeded", "failed", "cancelled"):
    assert time.monotonic() < deadline, job
    time.sleep(0.5)
    job = jobs.retrieve(job.id)
assert (job.status, job.fine_tuned_model, job.error) == ("succeeded", "tuned", None)
assert "Fine-tuning job started" in {event.message for event in jobs.list_events(job.id, limit=2)}
checkpoint = next(iter(jobs.checkpoints.list(job.id)))
assert checkpoint.fine_tuned_model_checkpoint == f"tuned@{checkpoint.step_number}"
name = checkpoint.fine_tuned_model_checkpoint
text = client.completions.create(model=name, prompt="Dear", max_tokens=10).choices[0].text
assert len(text) == 10

further = jobs.create(
    model="tuned", training_file=file.id, hyperparameters={"n_epochs": 1000}, suffix="further"
)
assert further.model == name
assert jobs.pause(further.id).status in ("paused", "running")
assert jobs.resume(further.id).status in ("queued", "running")
assert jobs.cancel(further.id).status in ("cancelled", "running")
assert [each.id for each in jobs.list(limit=1)][:2] == [further.id, job.id]


async def main() -> None:
    """Read it all again."""
    async with AsyncOpenAI(max_retries=0) as again:
        assert (await again.files.retrieve(file.id)).id == file.id
        assert (await again.files.content(file.id)).text.startswith(ITEMS[0])
        found = [each.id async for each in again.fine_tuning.jobs.list(limit=1)]
        assert found[:2] == [further.id, job.id]
        checkpoints = [each async for each in again.fine_tuning.jobs.checkpoints.list(job.id)]
        assert checkpoints[0].id == checkpoint.id
        while (await again.fine_tuning.jobs.retrieve(further.id)).status != "cancelled":
            await asyncio.sleep(0.5)


asyncio.run(main())
assert client.models.delete("further").deleted
assert client.models.delete("tuned").deleted
assert client.files.delete(file.id).deleted
print("all is well")
