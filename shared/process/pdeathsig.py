"""Runs a program that ends with its parent: ``python pdeathsig.py PARENT_PID PROGRAM …``.

The kernel sends SIGTERM to the program when the thread that started it dies, so no child
outlives a killed parent. It is a program of its own because Python code between fork and
exec (``preexec_fn``) is not safe beside threads; it replaces itself with the program,
which keeps the process id.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_CANNOT_RUN = 127


def die_with_parent(parent: int, number: signal.Signals) -> bool:
    """Ask the kernel to send this process a signal when the thread that started it dies.

    Returns:
        False if the parent died before the request.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    return os.getppid() == parent


def main() -> None:
    """Ask to die with the parent, then become the program."""
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    if not die_with_parent(parent, signal.SIGTERM):
        sys.exit(EXIT_CANNOT_RUN)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # the caller's own argument list, and no shell
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        sys.exit(EXIT_CANNOT_RUN)


if __name__ == "__main__":
    main()
