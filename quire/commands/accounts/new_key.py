"""How a new key is shown: on a terminal alone, since other outputs are kept."""

import sys

from quire import config
from quire.terminal.console import out, print_note
from shared.settings import load_settings


def print_new_key(key: str, note: str) -> None:
    """Show a new key on a terminal; elsewhere save it, and print the file's path.

    The output of a container, a service or a build is a log that others read, and that stays.
    """
    if sys.stdout.isatty():
        print_note(f"{note}, shown only this once:")
        out.print(key, soft_wrap=True)
        return
    path = config.save_key(load_settings(), key)
    print_note(f"{note} is in this file, which only you can read:")
    out.print(str(path), soft_wrap=True, markup=False)
