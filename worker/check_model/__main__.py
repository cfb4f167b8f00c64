"""``python -m worker.check_model FILE``: say what an exported model's file holds, or refuse it.

The API runs this as a process of its own: a file that somebody sends reaches NumPy only where it
can take down nothing but itself. It prints one JSON object: what the file holds, or why it is
refused.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from shared.model_files.header import RefusedFile
from worker.check_model.file import check

#: What the process may take beside the file: Python and NumPy, and a header in pieces.
MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 120
NICENESS = 5


def main(arguments: list[str]) -> int:
    """Check one file; see the module."""
    path = Path(arguments[0])
    # The API keeps itself to one core, which it needs for answers.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.nice(NICENESS)
    limit = MEMORY_BYTES + 2 * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        answer: dict[str, Any] = check(path)
    except RefusedFile as error:
        answer = {"refused": {"code": error.code, "message": str(error)}}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
