"""``/openai/v1``: the calls of OpenAI's API, as another face of the same operations and rows."""

from api.openai.completions import completions
from api.openai.files import files
from api.openai.fine_tuning import fine_tuning
from api.openai.models import models

OPENAI_RESOURCES = (models, completions, files, fine_tuning)
