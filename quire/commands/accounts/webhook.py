"""`quire webhook …`: webhooks and mails about jobs."""

import time
from typing import Annotated

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Delivery
from quire.commands.accounts.new_key import NewKeyOutput, Show
from quire.commands.jobs.notify_option import notify_target
from quire.errors import ExitCode
from quire.lookup import find_job
from quire.terminal import formatting
from quire.terminal.console import Json, escape, out, print_json, print_note, print_table

webhook = typer.Typer(no_args_is_help=True, help="Be told when a job has ended.")

#: How long `test` waits for what comes of the first try.
TEST_SECONDS = 30.0
POLL_SECONDS = 0.5

Target = Annotated[
    str,
    typer.Argument(
        metavar="URL|MAIL", help="An address that gets a signed POST, or one that gets a mail."
    ),
]


@webhook.command("add")
def add(
    target: Target,
    job: Annotated[
        str | None,
        typer.Option("--job", help="The job, by name or id.", show_default="all your trainings"),
    ] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Tell of each checkpoint, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell an address when a job, or any of your trainings, has ended."""
    with config.connect() as client:
        job_id = None if job is None else find_job(client, job).id
        made = client.notify(**notify_target(target), job=job_id, checkpoints=checkpoints)
    if as_json:
        print_json(made)
    else:
        out.print(escape(f"{made.id}  {made.target}"), soft_wrap=True)


@webhook.command("list")
def list_webhooks(as_json: Json = False) -> None:
    """List the addresses that are told of your jobs."""
    with config.connect() as client:
        found = list(client.notifications())
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "KIND", "TARGET", "JOB", "CHECKPOINTS", "CREATED"),
        [
            (
                each.id,
                each.kind,
                escape(each.target),
                each.job or "all trainings",
                "yes" if each.checkpoints else "",
                formatting.ago(each.created_at),
            )
            for each in found
        ],
        empty="Nobody is told of your jobs. `quire webhook add URL` tells an address.",
    )


@webhook.command("rm")
def remove(
    id: Annotated[str, typer.Argument(metavar="ID", help="From `quire webhook list`.")],
) -> None:
    """Tell an address no more."""
    with config.connect() as client:
        client.delete_notification(id)


@webhook.command("test")
def try_out(target: Target, as_json: Json = False) -> None:
    """Send a message to an address, and say what it answered."""
    with config.connect() as client:
        sent = _after_first_try(client, client.send_test(**notify_target(target)))
    if as_json:
        print_json(sent)
    else:
        out.print(escape(_outcome(sent)), soft_wrap=True)
    if sent.status != "delivered":
        raise typer.Exit(ExitCode.JOB_FAILED)


@webhook.command("deliveries")
def list_deliveries(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job, by name or id.")],
    as_json: Json = False,
) -> None:
    """List what was sent about a job, and what came of it."""
    with config.connect() as client:
        found = list(client.deliveries(find_job(client, job).id))
    if as_json:
        print_json(found)
        return
    print_table(
        ("EVENT", "TARGET", "STATE", "TRIES>", "LAST ANSWER", "CREATED"),
        [
            (
                each.event,
                escape(each.target),
                each.status,
                formatting.count(len(each.tries)),
                escape(_answer(each)),
                formatting.ago(each.created_at),
            )
            for each in found
        ],
        empty="Nothing was sent about this job.",
    )


@webhook.command("secret")
def secret(show: Show = False, as_json: Json = False) -> None:
    """Make a new secret that your webhooks are signed with. It is shown only once.

    For a day, the one before signs beside it.
    """
    output = NewKeyOutput(show=show or as_json)
    with config.connect() as client:
        made = client.rotate_webhook_secret()
    if as_json:
        print_json(made)
        return
    output.print_secret(made.secret or "", "Made a secret for your webhooks")


def _after_first_try(client: Client, sent: Delivery) -> Delivery:
    give_up_at = time.monotonic() + TEST_SECONDS
    while not sent.tries and sent.status == "pending" and time.monotonic() < give_up_at:
        time.sleep(POLL_SECONDS)
        sent = client.delivery(sent.id)
    return sent


def _outcome(sent: Delivery) -> str:
    if sent.status == "delivered":
        return f"delivered to {sent.target}: {_answer(sent)}"
    if not sent.tries:
        print_note("The server has not tried yet: its API sends webhooks while it runs.")
        return f"not sent to {sent.target} yet"
    return f"not delivered to {sent.target}: {_answer(sent)}"


def _answer(sent: Delivery) -> str:
    if not sent.tries:
        return ""
    last = sent.tries[-1]
    return last.error or f"{last.status_code}"
