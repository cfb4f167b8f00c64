"""`quire worker`: the workers of one machine alone."""

from quire.commands.server.options import Devices, HostName
from quire.server.parts import exec_part


def worker(devices: Devices = None, host_name: HostName = None) -> None:
    """Run only this machine's workers. DATABASE_URL and REDIS_URL name the servers they use."""
    exec_part("worker", "worker", QUIRE_DEVICES=devices, QUIRE_HOST_NAME=host_name)
