"""A database that cannot be reached: which errors say so, and how they are logged."""

from sqlalchemy import exc

#: What SQLAlchemy raises while the database cannot be reached or is too busy.
DATABASE_AWAY = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
RETRY_SECONDS = 0.5


def driver_message(error: Exception) -> str:
    """What the driver said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).strip()
