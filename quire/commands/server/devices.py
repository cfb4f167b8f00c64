"""`quire devices`: the workers and their devices."""

from quire import config
from quire.client.server_replies import Device
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_json, print_table


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
                device.lane,
                _state(device),
                formatting.ago(device.heartbeat_at),
            )
            for device in devices
        ],
        empty="No workers. `quire worker` starts them on this machine.",
    )


def _state(device: Device) -> str:
    if not device.alive:
        return "[red]gone[/]"
    if device.draining:
        return "[yellow]stopping[/]"
    if not device.ready:
        return "[yellow]starting[/]"
    return "[cyan]busy[/]" if device.current_job else "[green]free[/]"
