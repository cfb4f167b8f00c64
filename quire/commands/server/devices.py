"""`quire devices`: the workers and their devices. `quire free-device` frees one."""

from typing import Annotated

import typer

from quire import config
from quire.client.replies.server import Device
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import Json, escape, out, print_json, print_table


def list_devices(as_json: Json = False) -> None:
    """List the workers: their machine, their device and whether they are busy."""
    with config.connect() as client:
        devices = list(client.devices())
    if as_json:
        print_json(devices)
        return
    print_table(
        ("HOST", "DEVICE", "LANE", "STATE", "LAST HEARTBEAT"),
        [
            (
                escape(device.host),
                escape(device.gpu_name or device.device),
                _lane(device),
                _state(device),
                formatting.ago(device.heartbeat_at),
            )
            for device in devices
        ],
        empty="No workers. `quire worker` starts them on this machine.",
    )
    # All lanes of a device share its problem.
    for host, device, problem in dict.fromkeys(
        (each.host, each.device, each.problem) for each in devices if each.problem
    ):
        out.print(f"[red]{escape(f'{host}/{device}')}[/]: {escape(problem or '')}")


def free_device(
    device: Annotated[
        str, typer.Argument(metavar="HOST/DEVICE", help="The device, such as lab/gpu:0.")
    ],
) -> None:
    """Let a broken or quarantined device take jobs again, once it passes a probe (admins only)."""
    host, _, name = device.rpartition("/")
    if not host or not name:
        raise InvalidInput(
            f"{device!r} names no device: give its host and its name, as in lab/gpu:0"
        )
    with config.connect() as client:
        freed = client.free_device(host, name)
    if freed.problem is None:
        out.print(f"{escape(device)} had no problem. Its recent errors are forgotten.")
    else:
        out.print(f"{escape(device)} is probed, and takes jobs again if it passes.")


def _lane(device: Device) -> str:
    return (
        device.lane
        if device.slots == 1
        else f"{device.lane} (slot {device.slot} of {device.slots})"
    )


def _state(device: Device) -> str:
    if not device.alive:
        return "[red]gone[/]"
    if device.problem:
        return "[red]quarantined[/]" if device.quarantined else "[red]broken[/]"
    if device.draining:
        return "[yellow]stopping[/]"
    if not device.ready:
        return "[yellow]starting[/]"
    return "[cyan]busy[/]" if device.current_job else "[green]free[/]"
