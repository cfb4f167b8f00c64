"""Errors, each with the exit code that a command ends with."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `quire`, as `quire --help` and the README promise them."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_AUTHORISED = 4
    UNREACHABLE = 5
    BUG = 70
    INTERRUPTED = 130


class QuireError(Exception):
    """The base of every expected error. The message is one line, written for the user.

    Attributes:
        code: Why a text is refused, by a name that never changes; None for other errors.
        ways: What can be done about the text, each as one sentence of the message.
    """

    exit_code = ExitCode.USAGE
    code: str | None = None
    ways: Sequence[str] = ()


class InvalidInput(QuireError):
    """An option or argument has an invalid value."""


class NotFound(QuireError):
    """No resource of that name is visible to this key."""

    exit_code = ExitCode.NOT_FOUND


class NotLoggedIn(QuireError):
    """No server or no key is configured."""

    exit_code = ExitCode.NOT_AUTHORISED


class ServerUnreachable(QuireError):
    """The server does not answer."""

    exit_code = ExitCode.UNREACHABLE


class JobNotSucceeded(QuireError):
    """The job that was waited for failed or was cancelled."""

    exit_code = ExitCode.JOB_FAILED


class CannotStart(QuireError):
    """A part of the server cannot start on this machine."""

    exit_code = ExitCode.UNREACHABLE


class EventStreamError(QuireError):
    """The server's event stream is not one that this client can read."""

    exit_code = ExitCode.UNREACHABLE
