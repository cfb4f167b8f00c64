"""Runs this host's workers: ``python -m worker``."""

import sys

from worker.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
