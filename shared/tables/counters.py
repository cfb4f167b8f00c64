"""Counters that only rise: what ended, how long it waited and ran. `GET /metrics` shows them."""

from sqlalchemy import SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base


class Counter(Base):
    """One counter, or one bucket of a histogram; see shared/counters.py.

    Several processes would wait for each other's commits at one row. Each raises the row of its
    shard, and the sum counts.
    """

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    #: A JSON array of the values of its labels; a bucket's upper bound is the last.
    labels: Mapped[str] = mapped_column(String(200), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    value: Mapped[float]
