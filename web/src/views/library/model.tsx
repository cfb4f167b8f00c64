// Where a model comes from, and a way to take it along as a file.
import { type ComponentChild } from "preact";
import { useState } from "preact/hooks";
import { type Checkpoint, type Corpus, type Model, get, getFile } from "../../api/client";
import { number, t } from "../../i18n";
import { Button, Check, Refusal } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";
import { download } from "../../parts/text";

export function AboutModel({ model }: { model: Model }) {
  const from = model.origin;
  return (
    <>
      <dl class="caps">
        <Row name={t("presetUsed")}>{model.preset}</Row>
        {model.vocabulary_size !== null && (
          <Row name={t("vocabulary")}>
            {t(model.tokenizer === "word" ? "vocabularyWords" : "characters", { n: number(model.vocabulary_size) })}
          </Row>
        )}
        {model.corpus && (
          <Row name={t("learnedFrom")}>
            <CorpusName id={model.corpus} />
          </Row>
        )}
        {model.job && (
          <Row name={t("trainedBy")}>
            <a href={`/watch/${model.job}`} data-view>
              {t("kind_train")}
            </a>
          </Row>
        )}
        {model.from_checkpoint && (
          <Row name={t("trainedFrom")}>
            <Parent checkpoint={model.from_checkpoint} />
          </Row>
        )}
      </dl>
      {from && (
        <>
          <p>{t(from.optimizer ? "originWhole" : "originLight")}</p>
          <dl class="caps">
            <Row name={t("originModel")}>
              <code>{from.model}</code>
            </Row>
            <Row name={t("originCheckpoint")}>
              <code>{from.checkpoint}</code>
            </Row>
            <Row name={t("originFile")}>
              <code>{from.sha256}</code>
            </Row>
            {from.corpus_sha256 && (
              <Row name={t("originText")}>
                <code>{from.corpus_sha256}</code>
              </Row>
            )}
          </dl>
        </>
      )}
      {(model.checkpoints.best ?? model.checkpoints.latest) && <Export model={model} />}
    </>
  );
}

const Row = ({ name, children }: { name: string; children: ComponentChild }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

function CorpusName({ id }: { id: string }) {
  const corpus = useLoaded(() => get<Corpus>(`/v1/corpora/${id}`), id);
  return corpus.value ? <span dir="auto">{corpus.value.name}</span> : <code>{id}</code>;
}

/** The model whose checkpoint a training went on from, if it is still there. */
function Parent({ checkpoint }: { checkpoint: string }) {
  const found = useLoaded(async () => {
    const { model, step } = await get<Checkpoint>(`/v1/checkpoints/${checkpoint}`);
    return { model: await get<Model>(`/v1/models/${model}`), step };
  }, checkpoint);
  if (!found.value) return <code>{checkpoint}</code>;
  return (
    <>
      <a href={`/write/${found.value.model.id}`} data-view dir="auto">
        {found.value.model.name}
      </a>
      , {t("atStep", { step: number(found.value.step) })}
    </>
  );
}

function Export({ model }: { model: Model }) {
  const [isWhole, setWhole] = useState(false);
  const action = useAction();
  const take = () =>
    action.run(async () => {
      const file = await getFile(`/v1/models/${model.id}/export?optimizer=${isWhole}`);
      download(`${model.name}.safetensors`, file);
    });
  return (
    <>
      <Check label={t("withOptimizer")} hint={t("withOptimizerHint")} checked={isWhole} onChecked={setWhole} />
      <p class="actions">
        <Button onClick={take} busy={action.isBusy} aria-label={t("exportOf", { name: model.name })}>
          {t("export")}
        </Button>
      </p>
      <Refusal problem={action.problem} />
    </>
  );
}
