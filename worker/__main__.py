"""``python -m worker``: this host's workers."""

import sys

from worker.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
