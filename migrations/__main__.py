"""``python -m migrations``: bring the database to this version's schema."""

import sys

from migrations.migrate import main

if __name__ == "__main__":
    sys.exit(main())
