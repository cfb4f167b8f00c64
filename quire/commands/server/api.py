"""`quire api`: the API alone."""

from quire.commands.server.options import Host, Port
from quire.server.parts import exec_part


def api(host: Host = None, port: Port = None) -> None:
    """Run only the API. DATABASE_URL and REDIS_URL name the servers it uses."""
    exec_part("api", "api", QUIRE_API_HOST=host, QUIRE_API_PORT=port)
