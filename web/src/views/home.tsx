import { useEffect } from "preact/hooks";
import { type Job, type Model, type Page, get, session } from "../api/client";
import { moment, t } from "../i18n";
import { Status } from "../parts/job";
import { useLoaded } from "../parts/load";
import { Refusal } from "../parts/form";

const SHOWN = 8;

export function Home() {
  const models = useLoaded(() => get<Page<Model>>(`/v1/models?limit=${SHOWN}`));
  const jobs = useLoaded(() => get<Page<Job>>(`/v1/jobs?kind=train&limit=${SHOWN}`), "", 10_000);
  useEffect(() => {
    document.title = "Quire";
  });
  const me = session.get()?.user.name;
  return (
    <>
      <h1 tabIndex={-1}>{t("startTitle")}</h1>
      <ol class="steps">
        {(
          [
            ["teach", "stepText", "stepTextHint"],
            ["watch", "stepWatch", "stepWatchHint"],
            ["write", "stepWrite", "stepWriteHint"],
          ] as const
        ).map(([view, title, hint]) => (
          <li key={view}>
            <h2>
              <a href={`/${view}`} data-view>
                {t(title)}
              </a>
            </h2>
            <p>{t(hint)}</p>
          </li>
        ))}
      </ol>
      <section>
        <h2>{t("models")}</h2>
        <Refusal problem={models.problem} />
        {models.value?.items.length === 0 && <p class="soft">{t("noModels")}</p>}
        <ul class="list">
          {models.value?.items.map((model) => (
            <li key={model.id}>
              <a href={`/write/${model.id}`} data-view dir="auto">
                {model.name}
              </a>
              <span class="soft">
                {model.owner !== me && `${t("shared", { owner: model.owner })} · `}
                {model.checkpoints.best ? moment(model.created_at) : t("noCheckpoint")}
              </span>
            </li>
          ))}
        </ul>
      </section>
      <section>
        <h2>{t("recentJobs")}</h2>
        <Refusal problem={jobs.problem} />
        {jobs.value?.items.length === 0 && <p class="soft">{t("noJobs")}</p>}
        <ul class="list">
          {jobs.value?.items.map((job) => (
            <li key={job.id}>
              <a href={`/watch/${job.id}`} data-view dir="auto">
                {job.name}
              </a>
              <span class="soft">
                <Status job={job} /> · {moment(job.created_at)}
              </span>
            </li>
          ))}
        </ul>
        <p>
          <a href="/watch" data-view>
            {t("allJobs")}
          </a>
        </p>
      </section>
    </>
  );
}
