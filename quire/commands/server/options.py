"""Options that several server commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None, typer.Option(help="The directory for all data and logs.", show_default="~/.quire")
]
Host = Annotated[
    str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")
]
Port = Annotated[int | None, typer.Option(help="The port to listen on.", show_default="8420")]
Devices = Annotated[
    str | None,
    typer.Option(
        help="The devices to use: auto, cpu, a list such as cpu:0,cpu:1, or UUIDs of GPUs.",
        show_default="auto",
    ),
]
HostName = Annotated[
    str | None,
    typer.Option(
        help="The name of this machine; it must be unique among all machines with workers.",
        show_default="the host name",
    ),
]
