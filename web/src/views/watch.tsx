import { useEffect, useState } from "preact/hooks";
import { type Job, type Page, get } from "../api/client";
import { moment, t } from "../i18n";
import { Status, hasEnded, progressOf, timeLeft } from "../parts/job";
import { useAction, useLoaded } from "../parts/load";
import { Button, Refusal } from "../parts/form";

export function Watch() {
  const first = useLoaded(() => get<Page<Job>>("/v1/jobs"), "", 5000);
  const [older, setOlder] = useState<Page<Job>>();
  const action = useAction();
  useEffect(() => {
    document.title = `${t("watch")} · Quire`;
  });
  const cursor = older ? older.next_cursor : first.value?.next_cursor;
  const more = () =>
    action.run(async () => {
      const page = await get<Page<Job>>(`/v1/jobs?cursor=${encodeURIComponent(cursor ?? "")}`);
      setOlder({ ...page, items: [...(older?.items ?? []), ...page.items] });
    });
  const newest = first.value?.items ?? [];
  const seen = new Set(newest.map((job) => job.id));
  const jobs = [...newest, ...(older?.items ?? []).filter((job) => !seen.has(job.id))];
  return (
    <>
      <h1 tabIndex={-1}>{t("watchTitle")}</h1>
      <Refusal problem={first.problem} />
      {first.value && !jobs.length && (
        <p class="soft">
          {t("noJobs")}{" "}
          <a href="/teach" data-view>
            {t("teachTitle")}
          </a>
        </p>
      )}
      <ul class="list">
        {jobs.map((job) => (
          <li key={job.id}>
            <a href={`/watch/${job.id}`} data-view dir="auto">
              {job.name}
            </a>
            <span class="soft">
              {t(job.kind === "train" ? "kind_train" : "kind_generate")} · <Status job={job} />
              {!hasEnded(job) && progressOf(job) !== null && ` ${Math.floor((progressOf(job) ?? 0) * 100)} %`}
              {timeLeft(job) && ` · ${timeLeft(job)}`} · {moment(job.created_at)}
            </span>
          </li>
        ))}
      </ul>
      <Refusal problem={action.problem} />
      {cursor && (
        <Button onClick={more} busy={action.isBusy}>
          {t("showMore")}
        </Button>
      )}
    </>
  );
}
