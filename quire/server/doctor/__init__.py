"""`quire doctor`: looks at all that a server needs, and names one repair for what is wrong.

`machine.py` looks at this machine, `database.py` and `redis_server.py` at the two servers, and
`remote.py` at a server that is reached by HTTP alone. The modules but `remote.py` need the extra
`server`.
"""

from quire.server.doctor.findings import Finding, Level, exit_code

__all__ = ["Finding", "Level", "exit_code"]
