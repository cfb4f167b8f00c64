"""``/openai/v1``: the calls of OpenAI's API, as another face of the same operations and rows."""

from api.openai.completions import completions
from api.openai.models import models

OPENAI_RESOURCES = (models, completions)
