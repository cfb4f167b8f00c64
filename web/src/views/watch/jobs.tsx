// All jobs, newest first; trainings can be laid over each other.
import { useEffect, useState } from "preact/hooks";
import type { Job } from "../../api/client";
import { moment, t } from "../../i18n";
import { Button, Refusal, Select } from "../../parts/form";
import { Status, hasEnded, progressOf, timeLeft } from "../../parts/job";
import { useList } from "../../parts/load";
import { useDraft } from "../../store";
import { MOST_RUNS } from "./compare";

const POLL_MILLISECONDS = 5000;
const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"] as const;

export function Watch() {
  const [kind, setKind] = useDraft("watch.kind", "");
  const [status, setStatus] = useDraft("watch.status", "");
  const [chosen, setChosen] = useState<string[]>([]);
  const query = new URLSearchParams({ limit: "50" });
  if (kind) query.set("kind", kind);
  if (status) query.set("status", status);
  const jobs = useList<Job>(`/v1/jobs?${query}`, POLL_MILLISECONDS);
  useEffect(() => {
    document.title = `${t("watch")} · Quire`;
  });
  const choose = (id: string, isChosen: boolean) =>
    setChosen(isChosen ? [...chosen, id].slice(-MOST_RUNS) : chosen.filter((each) => each !== id));
  return (
    <>
      <h1 tabIndex={-1}>{t("watchTitle")}</h1>
      <Refusal problem={jobs.problem} />
      {(jobs.items.length > 0 || kind || status) && (
        <div class="row">
          <Select
            label={t("kind")}
            value={kind}
            options={[
              ["", t("any")],
              ["train", t("kind_train")],
              ["generate", t("kind_generate")],
            ]}
            onValue={setKind}
          />
          <Select
            label={t("status")}
            value={status}
            options={[
              ["", t("any")],
              ...STATUSES.map((each): [string, string] => [each, t(`status_${each}`)]),
            ]}
            onValue={setStatus}
          />
        </div>
      )}
      {jobs.isLoaded && !jobs.items.length && (
        <p class="soft">
          {t("noJobs")}{" "}
          <a href="/teach" data-view>
            {t("teachTitle")}
          </a>
        </p>
      )}
      {chosen.length > 0 && (
        <p class="actions chosen" role="status">
          {chosen.length > 1 ? (
            <a class="button" href={`/watch/${chosen.join(",")}`} data-view>
              {t("overEachOther", { n: chosen.length })}
            </a>
          ) : (
            t("chooseAnother")
          )}
        </p>
      )}
      <ul class="list">
        {jobs.items.map((job) => (
          <li key={job.id}>
            <span class="named">
              {job.kind === "train" && (
                <input
                  type="checkbox"
                  aria-label={t("chooseRun", { name: job.name })}
                  checked={chosen.includes(job.id)}
                  onChange={(event) => choose(job.id, event.currentTarget.checked)}
                />
              )}
              <a href={`/watch/${job.id}`} data-view dir="auto">
                {job.name}
              </a>
            </span>
            <span class="soft">
              {t(job.kind === "train" ? "kind_train" : "kind_generate")} · <Status job={job} />
              {!hasEnded(job) && progressOf(job) !== null && ` ${Math.floor((progressOf(job) ?? 0) * 100)} %`}
              {timeLeft(job) && ` · ${timeLeft(job)}`} · {moment(job.created_at)}
            </span>
          </li>
        ))}
      </ul>
      {jobs.more && (
        <Button onClick={jobs.more} busy={jobs.isBusy}>
          {t("showMore")}
        </Button>
      )}
    </>
  );
}
