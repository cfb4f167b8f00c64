"""`quire gpu-check`: whether this machine's GPUs work, and how fast they are."""

import subprocess

import typer

from quire.server.parts import require_server
from quire.terminal.console import Json
from shared.process.python_module import python_module


def gpu_check(as_json: Json = False) -> None:
    """Find, probe and measure this machine's GPUs. Exit code 3: there is none."""
    require_server("gpu-check")
    options = ["--json"] if as_json else []
    done = subprocess.run(python_module("worker.gpu_check", *options), check=False)
    raise typer.Exit(done.returncode)
