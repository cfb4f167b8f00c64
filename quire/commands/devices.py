"""`devices`: the workers and what each holds."""

from rich.markup import escape

from quire import config
from quire.client.server_replies import Device
from quire.terminal import formatting
from quire.terminal.console import Json, print_json, print_table


def list_devices(as_json: Json = False) -> None:
    """List the workers: where, on which device, and what they do."""
    with config.connect() as client:
        found = list(client.devices())
    if as_json:
        print_json(found)
        return
    print_table(
        ("HOST", "DEVICE", "LANE", "STATE", "HEARD OF"),
        [
            (
                escape(item.host),
                escape(item.gpu_name or item.device),
                item.lane,
                _state(item),
                formatting.ago(item.heartbeat_at),
            )
            for item in found
        ],
        empty="No workers: `quire worker` starts them on this machine.",
    )


def _state(item: Device) -> str:
    if not item.alive:
        return "[red]gone[/]"
    return "[cyan]busy[/]" if item.current_job else "[green]free[/]"
