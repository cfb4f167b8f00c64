"""Run `quire` as ``python -m quire``."""

from quire.main import main

if __name__ == "__main__":
    main()
