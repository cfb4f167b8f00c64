"""Traces of requests that are collected in memory and written a little later."""

from api.traces.http_figures import HttpFigures
from api.traces.key_uses import KeyUses
from api.traces.refusals import Refusals

__all__ = ["HttpFigures", "KeyUses", "Refusals"]
