import { useEffect, useRef } from "preact/hooks";
import { type Job, type Model, type Page, get, post } from "../../api/client";
import { t } from "../../i18n";
import { Button, Check, Field, Input, Refusal, Select } from "../../parts/form";
import { hasEnded } from "../../parts/job";
import { useAction, useLoaded } from "../../parts/load";
import { useJob } from "../../parts/writing";
import { useDraft } from "../../store";
import { Next } from "./next";
import { Result } from "./result";

const TEMPERATURES = ["0.2", "0.5", "0.8", "1", "1.2"];
const FIELDS = ["prompt", "length", "temperature", "seed", "top_k", "top_p", "stop", "repetition_penalty", "model", "n", "only_new", "nearest"];
/** So many of the likeliest tokens are asked for, for so many tokens together. */
const LOOKED_INTO = 5;
const MOST_LOOKED_INTO = 100_000;
const SEEDS = 2 ** 53;

export function Write({ model: given }: { model: string }) {
  const models = useLoaded(async () => {
    const page = await get<Page<Model>>("/v1/models?limit=200");
    // A link may name a model that is further down the list.
    if (!given || page.items.some((each) => each.id === given)) return page.items;
    return [await get<Model>(`/v1/models/${given}`), ...page.items];
  });
  const [chosen, setChosen] = useDraft("write.model", given);
  const [prompt, setPrompt] = useDraft("write.prompt", "");
  const [length, setLength] = useDraft("write.length", "400");
  const [temperatures, setTemperatures] = useDraft("write.temperatures", ["0.2", "0.5", "1"]);
  const [others, setOthers] = useDraft("write.others", "");
  const [seed, setSeed] = useDraft("write.seed", "");
  const [topK, setTopK] = useDraft("write.top_k", "");
  const [topP, setTopP] = useDraft("write.top_p", "");
  const [penalty, setPenalty] = useDraft("write.penalty", "");
  const [stop, setStop] = useDraft("write.stop", "");
  const [count, setCount] = useDraft("write.n", "");
  const [beside, setBeside] = useDraft("write.beside", "");
  const [isLooked, setLooked] = useDraft("write.looked", true);
  const [onlyNew, setOnlyNew] = useDraft("write.only_new", false);
  const [nearest, setNearest] = useDraft("write.nearest", false);
  const [jobIds, setJobIds] = useDraft<string[]>("write.jobs", []);
  const action = useAction();
  const results = [useJob(jobIds[0] ?? ""), useJob(jobIds[1] ?? "")];
  const isWriting = results.some(({ job }) => job && !hasEnded(job));
  const beginning = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    if (given) setChosen(given);
  }, [given]);
  const ready = (models.value ?? []).filter((each) => each.checkpoints.latest ?? each.checkpoints.best);
  const model = ready.some((each) => each.id === chosen) ? chosen : (ready[0]?.id ?? "");
  useEffect(() => {
    const state = isWriting ? `${t("writing")} · ` : "";
    document.title = `${state}${t("writeTitle")} · Quire`;
  });

  const other = ready.find((each) => each.id === beside && each.id !== model);
  const isList = learnedItems(ready.find((each) => each.id === model));

  const submit = (seedValue: string) =>
    action.run(async () => {
      const more: Record<string, unknown> = {};
      const wanted = { length, seed: seedValue, top_k: topK, top_p: topP, repetition_penalty: penalty, n: count };
      for (const [field, value] of Object.entries(wanted)) {
        if (value.trim()) more[field] = numberOrText(value);
      }
      if (prompt) more["prompt"] = prompt;
      more["copied_spans"] = true;
      const texts = (temperatures.length + others.split(/[,，\s]+/).filter(Boolean).length) * (Number(count) || 1);
      // What is long has no room for what else might have been written.
      if (isLooked && texts * Number(length) * LOOKED_INTO <= MOST_LOOKED_INTO) more["top_logprobs"] = LOOKED_INTO;
      if (stop) more["stop"] = [stop];
      const typed = others.split(/[,，\s]+/).filter(Boolean);
      const all = [...temperatures, ...typed].map(numberOrText);
      const sorted = all.every((each) => typeof each === "number")
        ? [...new Set(all as number[])].sort((a, b) => a - b)
        : all;
      const ofItems = { ...(onlyNew && { only_new: true }), ...(nearest && { nearest: true }) };
      const body = { model, temperature: sorted, ...more, ...(isList && ofItems) };
      const first = await post<Job>("/v1/generate", body);
      const used = first.spec["seed"] ?? numberOrText(seedValue);
      setJobIds([first.id]);
      setSeed(String(used));
      if (!other) return;
      const same = { temperature: sorted, ...more, ...(learnedItems(other) && ofItems), seed: used };
      const second = await post<Job>("/v1/generate", { model: other.id, ...same });
      setJobIds([first.id, second.id]);
    });
  const write = (event: Event) => {
    event.preventDefault();
    submit(seed);
  };
  const roll = () => {
    const another = String(Math.floor(Math.random() * SEEDS));
    setSeed(another);
    submit(another);
  };
  const goOn = (text: string) => {
    setPrompt(text);
    const field = beginning.current;
    field?.focus();
    field?.scrollIntoView({ block: "center" });
    // Once the field has the text, its end is shown.
    requestAnimationFrame(() => {
      field?.setSelectionRange(text.length, text.length);
      if (field) field.scrollTop = field.scrollHeight;
    });
  };
  const nameOf = (id: string | null | undefined) => ready.find((each) => each.id === id)?.name ?? "";
  const refused = action.problem?.fields ?? {};

  if (!ready.length) {
    return (
      <>
        <h1 tabIndex={-1}>{t("writeTitle")}</h1>
        <Refusal problem={models.problem} />
        {models.value && (
          <p class="soft">
            {t("noModelToWrite")}{" "}
            <a href="/teach" data-view>
              {t("teachTitle")}
            </a>
          </p>
        )}
      </>
    );
  }
  return (
    <>
      <h1 tabIndex={-1}>{t("writeTitle")}</h1>
      <Refusal problem={models.problem} />
      <form
        class="write"
        onSubmit={write}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !action.isBusy) write(event);
        }}
      >
        <div class="row">
          <Select
            label={t("model")}
            value={model}
            options={ready.map((each) => [each.id, each.name])}
            onValue={setChosen}
            error={refused["model"]}
          />
          {ready.length > 1 && (
            <Select
              label={t("besideIt")}
              value={other ? beside : ""}
              options={[
                ["", t("nobody")],
                ...ready
                  .filter((each) => each.id !== model)
                  .map((each): [string, string] => [each.id, each.name]),
              ]}
              onValue={setBeside}
            />
          )}
        </div>
        <Field label={t("prompt")} hint={t("promptHint")} error={refused["prompt"]}>
          {(props) => (
            <textarea
              {...props}
              ref={beginning}
              rows={4}
              dir="auto"
              value={prompt}
              onInput={(event) => setPrompt(event.currentTarget.value)}
            />
          )}
        </Field>
        <fieldset class="temperatures" aria-describedby="temperatures-hint">
          <legend>{t("temperatures")}</legend>
          {TEMPERATURES.map((value) => (
            <label key={value} class="chip">
              <input
                type="checkbox"
                checked={temperatures.includes(value)}
                onChange={(event) =>
                  setTemperatures(
                    event.currentTarget.checked
                      ? [...temperatures, value]
                      : temperatures.filter((each) => each !== value),
                  )
                }
              />
              <span>{value}</span>
            </label>
          ))}
          <p class="hint" id="temperatures-hint">
            {t("temperaturesHint")}
          </p>
          {refused["temperature"] && (
            <p class="error" role="alert">
              {refused["temperature"]}
            </p>
          )}
        </fieldset>
        <div class="row">
          <Input
            label={t("length")}
            hint={t("lengthHint")}
            value={length}
            onValue={setLength}
            error={refused["length"]}
            inputMode="numeric"
          />
          <Input
            label={t("seed")}
            hint={t("seedHint")}
            value={seed}
            onValue={setSeed}
            error={refused["seed"]}
            inputMode="numeric"
          />
        </div>
        <details>
          <summary>{t("more")}</summary>
          <div class="grid">
            <Input label={t("temperatures")} hint={t("otherTemperatures")} value={others} onValue={setOthers} inputMode="decimal" />
            <Input label={t("topK")} hint={t("topKHint")} value={topK} onValue={setTopK} error={refused["top_k"]} inputMode="numeric" />
            <Input label={t("topP")} hint={t("topPHint")} value={topP} onValue={setTopP} error={refused["top_p"]} inputMode="decimal" />
            <Input label={t("penalty")} hint={t("penaltyHint")} value={penalty} onValue={setPenalty} error={refused["repetition_penalty"]} inputMode="decimal" />
            <Input label={t("count")} hint={t("countHint")} value={count} onValue={setCount} error={refused["n"]} inputMode="numeric" />
            <Check label={t("lookInto")} checked={isLooked} onChecked={setLooked} />
            {isList && (
              <>
                <Check
                  label={t("onlyNew")}
                  hint={t("onlyNewHint")}
                  checked={onlyNew}
                  onChecked={setOnlyNew}
                  error={refused["only_new"]}
                />
                <Check
                  label={t("nearest")}
                  hint={t("nearestHint")}
                  checked={nearest}
                  onChecked={setNearest}
                  error={refused["nearest"]}
                />
              </>
            )}
            <Input label={t("stop")} hint={t("stopHint")} value={stop} onValue={setStop} error={refused["stop"]} />
          </div>
        </details>
        <Refusal problem={action.problem} shown={FIELDS} />
        <p class="actions">
          <Button kind="main" type="submit" busy={action.isBusy} disabled={!model}>
            {jobIds.length ? t("again") : t("writeIt")}
          </Button>
          <Button onClick={roll} disabled={action.isBusy || !model} title={t("dieHint")}>
            {t("die")}
          </Button>
        </p>
      </form>
      <Next key={model} model={model} prompt={prompt} />
      <div class={results[1]?.job ? "side" : ""}>
        {results.map((followed, index) => (
          <Result
            key={index}
            followed={followed}
            title={jobIds.length > 1 ? nameOf(followed.job?.model) : ""}
            onGoOn={goOn}
          />
        ))}
      </div>
    </>
  );
}

/** Whether a model writes the items of a list, such as names. */
const learnedItems = (model: Model | undefined): boolean => model?.spec["items"] === true;

/** A number if it is one; otherwise the text, which the API refuses in its own words. */
function numberOrText(value: string): number | string {
  const trimmed = value.trim().replace(",", ".");
  return trimmed !== "" && Number.isFinite(Number(trimmed)) ? Number(trimmed) : value;
}
