"""``python -m cli`` is `quire`."""

from cli.main import main

if __name__ == "__main__":
    main()
