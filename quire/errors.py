"""How a command can fail, and the exit code that tells a script so."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What `quire` ends with. They are promised in `quire --help` and in the README."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_AUTHORISED = 4
    UNREACHABLE = 5
    BUG = 70
    INTERRUPTED = 130


class CliError(Exception):
    """A command cannot go on. The message is what the user reads, in one line."""

    exit_code = ExitCode.USAGE


class InvalidInput(CliError):
    """An option or argument cannot be used as it is."""


class NotFound(CliError):
    """Nothing of that name is visible to this key."""

    exit_code = ExitCode.NOT_FOUND


class NotLoggedIn(CliError):
    """No server or no key is known yet."""

    exit_code = ExitCode.NOT_AUTHORISED


class ServerUnreachable(CliError):
    """The server does not answer."""

    exit_code = ExitCode.UNREACHABLE


class JobNotSucceeded(CliError):
    """The job that was waited for failed or was cancelled."""

    exit_code = ExitCode.JOB_FAILED


class CannotStart(CliError):
    """A part of the server cannot be started here."""

    exit_code = ExitCode.UNREACHABLE
