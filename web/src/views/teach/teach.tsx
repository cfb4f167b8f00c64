import { useEffect, useState } from "preact/hooks";
import { type Corpus, type Job, type Page, type Problem, type TrainDryRun, get, post } from "../../api/client";
import { clock, duration, number, size, t } from "../../i18n";
import type { en } from "../../i18n/en";
import { Button, Input, Refusal, Select } from "../../parts/form";
import { asProblem, useAction, useLoaded } from "../../parts/load";
import { go } from "../../router";
import { useDraft } from "../../store";
import { NewText } from "./new-text";
import { Numbers, asFields } from "./numbers";

type Message = keyof typeof en;

const PRESETS: [name: string, title: Message, hint: Message, body: Record<string, unknown>][] = [
  ["quick", "presetQuick", "presetQuickHint", { preset: "default", budget: { seconds: 60 } }],
  ["good", "presetGood", "presetGoodHint", { preset: "default" }],
  ["classic", "presetClassic", "presetClassicHint", { preset: "classic" }],
  ["large", "presetLarge", "presetLargeHint", { preset: "large" }],
];
const PAUSE_MILLISECONDS = 400;

export function Teach() {
  const corpora = useLoaded(() => get<Page<Corpus>>("/v1/corpora?limit=200"));
  const [corpus, setCorpus] = useDraft("teach.corpus", "");
  const [preset, setPreset] = useDraft("teach.preset", "good");
  const [values, setValues] = useDraft<Record<string, string>>("teach.numbers", {});
  const [name, setName] = useDraft("teach.name", "");
  const [seed, setSeed] = useDraft("teach.seed", "");
  const [from, setFrom] = useDraft("teach.from", "");
  const [dryRun, setDryRun] = useState<TrainDryRun>();
  const [refusal, setRefusal] = useState<Problem>();
  const action = useAction();
  useEffect(() => {
    document.title = `${t("teach")} · Quire`;
  });

  const texts = corpora.value?.items ?? [];
  const text = texts.find((each) => each.id === corpus);
  const chosen = PRESETS.find(([each]) => each === preset) ?? PRESETS[1]!;
  const fields = asFields(values);
  const body: Record<string, unknown> = { corpus, ...(from ? { from } : chosen[3]), ...fields };
  if ("epochs" in fields) delete body["budget"];
  if (name.trim()) body["name"] = name;
  if (seed.trim()) body["seed"] = Number.isFinite(Number(seed)) ? Number(seed) : seed;
  const wanted = JSON.stringify(body);

  useEffect(() => {
    setRefusal(undefined);
    if (!text) {
      setDryRun(undefined);
      return;
    }
    let isCurrent = true;
    const timer = setTimeout(() => {
      post<TrainDryRun>("/v1/train?dry_run=true", body).then(
        (found) => isCurrent && setDryRun(found),
        (error: unknown) => {
          if (!isCurrent) return;
          setDryRun(undefined);
          setRefusal(asProblem(error));
        },
      );
    }, PAUSE_MILLISECONDS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [wanted, text?.id]);

  const start = () =>
    action.run(async () => {
      const job = await post<Job>("/v1/train", body);
      setName("");
      setFrom("");
      go(`/watch/${job.id}`);
    });
  const kept = (added: Corpus) => {
    setCorpus(added.id);
    corpora.reload();
  };
  const refused = { ...refusal?.fields, ...action.problem?.fields };
  const shown = ["corpus", "name", "seed", ...Object.keys(values)];
  return (
    <>
      <h1 tabIndex={-1}>{t("teachTitle")}</h1>
      <section>
        <h2>{t("theText")}</h2>
        <Refusal problem={corpora.problem} />
        {texts.length > 0 && (
          <Select
            label={t("ownTexts")}
            value={corpus}
            options={[
              ["", t("newText")],
              ...texts.map((each): [string, string] => [
                each.id,
                `${each.name} · ${t("characters", { n: number(each.characters) })}`,
              ]),
            ]}
            onValue={setCorpus}
            error={refused["corpus"]}
          />
        )}
        {corpora.value && !text && <NewText onKept={kept} />}
        {text && (
          <p class="soft">
            {t("characters", { n: number(text.characters) })} ·{" "}
            {t("distinct", { n: number(text.distinct_characters) })} · {text.encoding}
            {text.items &&
              ` · ${t("itemsCount", { n: number(text.items.count), median: number(text.items.median) })}`}
          </p>
        )}
      </section>
      <section>
        <h2>{t("how")}</h2>
        {from ? (
          <p class="soft">
            {t("continueFrom")} <Button onClick={() => setFrom("")}>{t("cancel")}</Button>
          </p>
        ) : (
          <fieldset class="presets">
            <legend class="hidden">{t("how")}</legend>
            {PRESETS.map(([each, title, hint]) => (
              <label key={each}>
                <input
                  type="radio"
                  name="preset"
                  value={each}
                  checked={each === chosen[0]}
                  onChange={() => setPreset(each)}
                />
                <span>
                  <strong>{t(title)}</strong>
                  <small>{t(hint)}</small>
                </span>
              </label>
            ))}
          </fieldset>
        )}
        <div class="row">
          <Input
            label={t("modelName")}
            placeholder={dryRun?.name ?? ""}
            value={name}
            onValue={setName}
            error={refused["name"]}
          />
          <Input
            label={t("seed")}
            placeholder={t("random")}
            value={seed}
            onValue={setSeed}
            error={refused["seed"]}
            inputMode="numeric"
          />
        </div>
        <Numbers values={values} onValues={setValues} preset={dryRun?.spec} refused={refused} />
      </section>
      <section aria-live="polite">
        <h2>{t("estimate")}</h2>
        {text ? (
          dryRun && <Estimate found={dryRun} />
        ) : (
          <p class="soft">{t("chooseTextFirst")}</p>
        )}
        <Refusal problem={refusal} shown={shown} />
        <Refusal problem={action.problem} shown={shown} />
        <p class="actions">
          <Button kind="main" onClick={start} busy={action.isBusy} disabled={!text || !dryRun}>
            {t("startTraining")}
          </Button>
        </p>
      </section>
    </>
  );
}

function Estimate({ found }: { found: TrainDryRun }) {
  const { estimate, queue } = found;
  const figures: [string, string, string][] = [
    [t("time"), duration(estimate.seconds), t(estimate.measured ? "measured" : "estimated")],
    [t("memory"), size(estimate.memory_bytes), ""],
    [t("checkpointSize"), size(estimate.checkpoint_bytes), ""],
    [
      t("place"),
      String(queue.position ?? "–"),
      queue.starts_at ? t("startsAbout", { time: clock(queue.starts_at) }) : queue.reason,
    ],
  ];
  return (
    <dl class="figures">
      {figures.map(([label, value, note]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>
            {value}
            {note && <small>{note}</small>}
          </dd>
        </div>
      ))}
    </dl>
  );
}
