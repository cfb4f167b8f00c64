import { useEffect } from "preact/hooks";
import { type Job, post } from "../../api/client";
import { t } from "../../i18n";
import { Button, Refusal } from "../../parts/form";
import { Place, Status, hasEnded, progressOf } from "../../parts/job";
import { useAction } from "../../parts/load";
import { ShareLink } from "../../parts/keep";
import { TellMe } from "../../parts/notify";
import { useJob } from "../../parts/writing";
import { go } from "../../router";
import { Columns } from "../write/columns";
import { Curves } from "./curves";
import { Deliveries } from "./deliveries";
import { Figures } from "./figures";
import { Samples } from "./samples";

export function JobView({ id }: { id: string }) {
  const { job, problem, points, history, drafts, texts, ask: askJob } = useJob(id);
  const action = useAction();
  const share = job ? progressOf(job) : null;
  useEffect(() => {
    const percent = job && !hasEnded(job) && share !== null ? `${Math.floor(share * 100)} % · ` : "";
    document.title = `${percent}${job?.name ?? t("watch")} · Quire`;
  });
  if (problem) return <Refusal problem={problem} />;
  if (!job) return <p class="soft">{t("loading")}</p>;

  const ask = (what: string) => () =>
    action.run(() => askJob(() => post<Job>(`/v1/jobs/${id}/${what}`)));
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
        <TellMe job={job} />
        <ShareLink what={{ job: id }} />
      </p>
      <Refusal problem={action.problem} />
      {hasEnded(job) && <Deliveries job={id} />}
      {job.kind === "train" ? (
        <>
          <Figures job={job} />
          <section>
            <h2>{t("curves")}</h2>
            {points.length ? <Curves points={points} history={history} /> : <p class="soft">{t("noCurve")}</p>}
          </section>
          <Samples texts={texts} ended={hasEnded(job)} />
        </>
      ) : (
        <Columns job={job} drafts={drafts} texts={texts} />
      )}
    </>
  );
}
