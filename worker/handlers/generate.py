"""Starts a `generate` job: a checkpoint and a prompt become sequences for the engine."""

from collections.abc import Sequence
from itertools import product

from shared.queue.types import Claim, TextRecord
from shared.specs.generation import GenerateSpec
from shared.specs.seeds import text_seed
from shared.texts.vocabulary import Fitting
from worker.data.corpora import Corpora, add_copied_spans, add_novelty, random_piece
from worker.data.model_cache import LoadedModel, ModelCache
from worker.execution.failures import (
    CorpusDeleted,
    ModelDeleted,
    NoSuchCheckpoint,
    NothingToScore,
)
from worker.handlers.generation_run import GeneratedText, GenerationRun, temperature_ends
from worker.handlers.next_run import NextRun
from worker.handlers.score_run import PIECE_TOKENS, ScoreRun
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

    def __call__(self, claim: Claim) -> GenerationRun | NextRun | ScoreRun:
        """Load a job's model and return all its texts, none of them begun.

        Raises:
            ModelDeleted: The model is gone.
            NoSuchCheckpoint: The model has no checkpoint of the requested name.
            CorpusDeleted: A random prompt or the score of a corpus was asked for, and it is gone.
        """
        spec = GenerateSpec.model_validate(claim.spec)
        checkpoint_id = _checkpoint_id(claim, spec.checkpoint)
        model = self._models.get(checkpoint_id)
        if spec.score:
            return self._score(claim, spec, checkpoint_id, model)
        if spec.next is not None:
            prompt = self._prompt(claim, spec, model, seed=0)
            return NextRun.begin(spec, spec.next, checkpoint_id, model, prompt)
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
                report="likeliest" if spec.top_logprobs else None,
            )
            run.texts.append(GeneratedText(prompt, model.sampler.new_sequence(request)))
        return run

    def _score(
        self, claim: Claim, spec: GenerateSpec, checkpoint_id: str, model: LoadedModel
    ) -> ScoreRun:
        if spec.fitting is None:
            prompt = self._prompt(claim, spec, model, seed=0)
            total, texts = len(prompt), iter([prompt])
        else:
            corpus = self._corpora.stream(claim.corpus_id, lowercase=model.lowercase)
            if corpus is None:
                raise CorpusDeleted("score")
            fitting = Fitting.to(
                model.vocabulary.characters,
                lowercase=model.lowercase,
                unknown=spec.fitting.unknown,
                normal_form=spec.fitting.normal_form,
            )
            prompt, total = "", corpus.characters
            texts = fitting.fit_pieces(corpus.pieces)
        pieces = model.vocabulary.encode_pieces(texts, PIECE_TOKENS)
        first = next(pieces, None)
        if first is None:
            raise NothingToScore
        request = SamplingRequest(
            prompt=first,
            length=0,
            temperature=1.0,
            top_k=None,
            top_p=None,
            seed=text_seed(spec.seed, 0, 0),
        )
        run = ScoreRun(
            spec=spec,
            checkpoint_id=checkpoint_id,
            model=model,
            prompt=prompt,
            sequence=model.sampler.new_sequence(request),
            pieces=pieces,
            tokens_total=total,
            characters=len(model.vocabulary.decode(first[1:])),
        )
        run.read_ahead()
        return run

    def records(
        self, ended: Sequence[tuple[GenerationRun | NextRun | ScoreRun, str | None]]
    ) -> list[Sequence[TextRecord]]:
        """The texts of ended runs as they are stored, with what each copies from its corpus.

        Args:
            ended: The runs, each with the `finish_reason` of its texts that were interrupted.
        """
        records = [run.records(unfinished) for run, unfinished in ended]
        indexes = [run.index if isinstance(run, GenerationRun) else None for run, _ in ended]
        asked = [run.spec.copied_spans for run, _ in ended]
        return add_copied_spans(add_novelty(records, indexes), indexes, asked)

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
