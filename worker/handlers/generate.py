"""Starts a `generate` job: a checkpoint and a prompt become sequences for the engine."""

from itertools import product

from shared.queue.types import Claim
from shared.specs.generation import GenerateSpec
from shared.specs.seeds import text_seed
from worker.data.corpora import Corpora, random_piece
from worker.data.model_cache import LoadedModel, ModelCache
from worker.execution.failures import CorpusDeleted, ModelDeleted, NoSuchCheckpoint
from worker.handlers.generation_run import GeneratedText, GenerationRun, temperature_ends
from worker.ml.config import ITEM_BEGIN
from worker.ml.sampling.request import SamplingRequest


class Generate:
    """The handler of `generate` jobs.

    Args:
        corpora: The texts that random prompts are taken from.
        models: The loaded models.
    """

    def __init__(self, corpora: Corpora, models: ModelCache) -> None:
        self._corpora = corpora
        self._models = models

    def __call__(self, claim: Claim) -> GenerationRun:
        """Load a job's model and return all its texts, none of them begun.

        Raises:
            ModelDeleted: The model is gone.
            NoSuchCheckpoint: The model has no checkpoint of the requested name.
            CorpusDeleted: A random prompt was asked for, and the corpus is gone.
        """
        spec = GenerateSpec.model_validate(claim.spec)
        checkpoint_id = _checkpoint_id(claim, spec.checkpoint)
        model = self._models.get(checkpoint_id)
        index = self._corpora.index(claim.corpus_id, lowercase=model.lowercase)
        items = None
        if spec.items:
            items = self._corpora.items(claim.corpus_id, lowercase=model.lowercase)
        run = GenerationRun(spec, checkpoint_id, model, index, items)
        for (j, temperature), i in product(enumerate(spec.temperatures), range(spec.n)):
            seed = text_seed(spec.seed, j, i)
            prompt = self._prompt(claim, spec, model, seed)
            first, last = temperature_ends(temperature)
            request = SamplingRequest(
                prompt=model.vocabulary.encode(ITEM_BEGIN + prompt if spec.items else prompt),
                length=spec.length,
                temperature=first,
                top_k=spec.top_k,
                top_p=spec.top_p,
                seed=seed,
                temperature_to=last,
                repetition_penalty=spec.repetition_penalty,
            )
            run.texts.append(GeneratedText(prompt, model.sampler.new_sequence(request)))
        return run

    def _prompt(self, claim: Claim, spec: GenerateSpec, model: LoadedModel, seed: int) -> str:
        if spec.prompt or (spec.items and spec.prompt is not None):
            return spec.prompt.lower() if model.lowercase else spec.prompt
        text = self._corpora.text(claim.corpus_id, lowercase=model.lowercase)
        if text is None:
            raise CorpusDeleted("generate")
        by_words = bool(model.vocabulary.words)
        return random_piece(text, seed, model.window, by_words=by_words)


def _checkpoint_id(claim: Claim, requested: str) -> str:
    if claim.model_id is None:
        raise ModelDeleted
    if claim.checkpoint_id is None:
        raise NoSuchCheckpoint(requested)
    return claim.checkpoint_id
