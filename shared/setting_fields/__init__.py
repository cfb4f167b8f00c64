"""All settings: variable, default, bounds and description.

`make settings` writes docs/settings.md from here; shared/settings.py reads and checks them.
"""

from shared.setting_fields.accounts import AccountFields
from shared.setting_fields.api import ApiFields
from shared.setting_fields.client import ClientFields
from shared.setting_fields.notifications import NotificationFields
from shared.setting_fields.queue import QueueFields
from shared.setting_fields.storage import StorageFields
from shared.setting_fields.workers import WorkerFields


# The fields of the last base come first, on the page of settings too.
class Fields(
    ClientFields,
    WorkerFields,
    NotificationFields,
    ApiFields,
    AccountFields,
    QueueFields,
    StorageFields,
):
    """The fields of `shared.settings.Settings`."""
