import { useEffect, useState } from "preact/hooks";
import { type Job, type Text, post } from "../api/client";
import { duration, loss, number, t } from "../i18n";
import { Chart } from "../parts/chart";
import { Button, Field, Refusal } from "../parts/form";
import { Place, Status, hasEnded, progressOf } from "../parts/job";
import { useAction } from "../parts/load";
import { Passage, TextActions } from "../parts/text";
import { useJob } from "../parts/writing";
import { go } from "../router";
import { Columns } from "./columns";

export function JobView({ id }: { id: string }) {
  const { job, problem, points, drafts, texts, update } = useJob(id);
  const action = useAction();
  const share = job ? progressOf(job) : null;
  useEffect(() => {
    const percent = job && !hasEnded(job) && share !== null ? `${Math.floor(share * 100)} % · ` : "";
    document.title = `${percent}${job?.name ?? t("watch")} · Quire`;
  });
  if (problem) return <Refusal problem={problem} />;
  if (!job) return <p class="soft">{t("loading")}</p>;

  const ask = (what: string) => () =>
    action.run(async () => update(await post<Job>(`/v1/jobs/${id}/${what}`)));
  const trainOn = () => {
    sessionStorage.setItem("draft teach.from", JSON.stringify(job.checkpoints?.best ?? ""));
    sessionStorage.setItem("draft teach.corpus", JSON.stringify(job.corpus ?? ""));
    go("/teach");
  };
  return (
    <>
      <p class="kicker">
        {t(job.kind === "train" ? "kind_train" : "kind_generate")} · <Status job={job} />
      </p>
      <h1 tabIndex={-1} dir="auto">
        {job.name}
      </h1>
      {job.error && (
        <p class="error" role="alert">
          {job.error.title}. {job.error.detail}
        </p>
      )}
      <Place job={job} />
      {share !== null && !hasEnded(job) && (
        <progress value={share} max={1} aria-label={t("epochSlider")} />
      )}
      <p class="actions">
        {(job.status === "running" || job.status === "queued") && (
          <Button onClick={ask("pause")} busy={action.isBusy} disabled={job.pause_requested}>
            {t("pause")}
          </Button>
        )}
        {job.status === "paused" && (
          <Button kind="main" onClick={ask("resume")} busy={action.isBusy}>
            {t("resume")}
          </Button>
        )}
        {!hasEnded(job) && (
          <Button onClick={ask("cancel")} busy={action.isBusy} disabled={job.cancel_requested}>
            {t("cancel")}
          </Button>
        )}
        {job.model && (job.kind === "generate" || job.checkpoints?.best) && (
          <a class="button" href={`/write/${job.model}`} data-view>
            {t("writeWith")}
          </a>
        )}
        {job.kind === "train" && hasEnded(job) && job.checkpoints?.best && (
          <Button onClick={trainOn}>{t("trainOn")}</Button>
        )}
      </p>
      <Refusal problem={action.problem} />
      {job.kind === "train" ? (
        <>
          <Figures job={job} />
          <section>
            <h2>{t("curves")}</h2>
            {points.length ? <Chart points={points} /> : <p class="soft">{t("noCurve")}</p>}
          </section>
          <Samples texts={texts} ended={hasEnded(job)} />
        </>
      ) : (
        <Columns job={job} drafts={drafts} texts={texts} />
      )}
    </>
  );
}

function Figures({ job }: { job: Job }) {
  const progress = job.progress;
  if (!progress) return null;
  const figures: [string, string, (string | undefined)?][] = [
    [
      t("epochSlider"),
      `${number(progress.epoch, 1)} / ${number(progress.epochs, 1)}`,
      job.status === "running" && progress.seconds_left !== null && progress.seconds_left !== undefined
        ? t("timeLeft", { time: duration(progress.seconds_left) })
        : undefined,
    ],
    [t("trainLoss"), loss(progress.loss)],
    [t("validationLoss"), loss(progress.val_loss)],
    [t("bitsPerChar"), loss(progress.bits_per_char)],
    [t("speed"), progress.characters_per_second ? number(progress.characters_per_second) : "–"],
  ];
  return (
    <>
      <dl class="figures">
        {figures.map(([name, value, note]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              {value}
              {note && <small>{note}</small>}
            </dd>
          </div>
        ))}
      </dl>
      <details>
        <summary>{t("bitsTitle")}</summary>
        <p class="soft">{t("bitsHint")}</p>
      </details>
    </>
  );
}

/** How it learned to write: the texts of one epoch at every temperature, and a slider through time. */
function Samples({ texts, ended }: { texts: Text[]; ended: boolean }) {
  const steps = [...new Set(texts.map((text) => text.step ?? 0))].sort((a, b) => a - b);
  const [chosen, setChosen] = useState<number | null>(null);
  const at = chosen === null ? steps.length - 1 : Math.min(chosen, steps.length - 1);
  const shown = texts
    .filter((text) => (text.step ?? 0) === steps[at])
    .sort((a, b) => a.temperature - b.temperature);
  const epoch = number(shown[0]?.epoch ?? 0, 1);
  return (
    <section>
      <h2>{t("texts")}</h2>
      {!steps.length && !ended && <p class="soft">{t("noTexts")}</p>}
      {steps.length > 1 && (
        <Field label={`${t("epochSlider")}: ${t("atEpoch", { epoch })}`}>
          {(props) => (
            <input
              {...props}
              type="range"
              min={0}
              max={steps.length - 1}
              value={at}
              aria-valuetext={t("atEpoch", { epoch })}
              onInput={(event) => {
                const value = event.currentTarget.valueAsNumber;
                setChosen(value === steps.length - 1 ? null : value);
              }}
            />
          )}
        </Field>
      )}
      <div class="columns">
        {shown.map((text) => (
          <article key={text.id} aria-label={t("temperatureOf", { value: text.temperature })}>
            <h3>{t("temperatureOf", { value: text.temperature })}</h3>
            <Passage written={text} />
            <TextActions written={text} name={`quire-${text.id}`} />
          </article>
        ))}
      </div>
    </section>
  );
}
