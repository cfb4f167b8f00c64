"""The HTTP server: waitress, with deadlines, fair eviction, and threads for whole requests only.

`Front` reads heads and bodies on one event loop and lends a thread to a request only once all of it
is there. A peer that is slow, silent or greedy costs a connection, never a thread.
"""

from api.front.limits import FrontLimits
from api.front.policy import HeadPolicy
from api.front.seats import NoSeat, Seat, Seats
from api.front.senders import name_sender, session_tokens
from api.front.server import Front
from api.front.slots import FairSlots, Slot
from api.front.tasks import ON_CLOSE, SLOT

__all__ = [
    "ON_CLOSE",
    "SLOT",
    "FairSlots",
    "Front",
    "FrontLimits",
    "HeadPolicy",
    "NoSeat",
    "Seat",
    "Seats",
    "Slot",
    "name_sender",
    "session_tokens",
]
