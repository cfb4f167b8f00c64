"""Process titles, by which `ps` and `top` tell the parts of Quire apart."""

from setproctitle import setproctitle


def set_title(part: str) -> None:
    """Show this process as ``quire: PART``.

    The title overwrites the environment in ``/proc/PID/environ``, unless the variable
    ``SPT_NOENV`` is set: then it is cut to the length of the command line.
    """
    setproctitle(f"quire: {part}")
