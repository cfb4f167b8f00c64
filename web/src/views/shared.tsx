// What a link shares: a training as it learns, or a text, for whoever has the link; to be read only.
import { useEffect, useState } from "preact/hooks";
import { type Job, type JobEvent, type Metric, type Page, type Shared, type Text, everyItem, get } from "../api/client";
import { followShared } from "../api/events";
import { moment, t } from "../i18n";
import { Refusal } from "../parts/form";
import { Status, hasEnded, progressOf } from "../parts/job";
import { useLoaded } from "../parts/load";
import { Passage } from "../parts/passage";
import { TextActions } from "../parts/text";
import { type Source, useSource } from "../parts/writing";
import { Curves } from "./watch/curves";
import { Figures } from "./watch/figures";
import { Samples } from "./watch/samples";
import { Columns } from "./write/columns";

export function SharedView({ token }: { token: string }) {
  const path = `/v1/shared/${encodeURIComponent(token)}`;
  const shared = useLoaded(() => get<Shared>(path), token);
  if (shared.problem) {
    return (
      <>
        <h1 tabIndex={-1}>{t("sharedTitle")}</h1>
        <Refusal problem={shared.problem} />
      </>
    );
  }
  const found = shared.value;
  if (!found) return <p class="soft">{t("loading")}</p>;
  return (
    <>
      {found.text ? <SharedText text={found.text} /> : <SharedJob path={path} token={token} />}
      <p class="hint">{t("sharedUntil", { owner: found.owner, time: moment(found.expires_at) })}</p>
    </>
  );
}

function SharedText({ text }: { text: Text }) {
  useEffect(() => {
    document.title = "Quire";
  });
  return (
    <>
      <h1 tabIndex={-1}>{t("sharedText")}</h1>
      <Passage written={text} />
      <TextActions written={text} name={`quire-${text.id}`} isReadOnly />
    </>
  );
}

function SharedJob({ path, token }: { path: string; token: string }) {
  const [closed, setClosed] = useState("");
  const source: Source = {
    name: path,
    job: async () => (await get<Shared>(path)).job as Job,
    metrics: (points) => get<Page<Metric>>(`${path}/metrics?points=${points}`),
    history: (after) => everyItem<JobEvent>(`${path}/history?after=${after}`),
    texts: () => everyItem<Text>(`${path}/texts`),
    follow: (listener) => followShared(token, listener, setClosed),
  };
  const { job, problem, points, history, drafts, texts } = useSource(source);
  const share = job ? progressOf(job) : null;
  useEffect(() => {
    const percent = job && !hasEnded(job) && share !== null ? `${Math.floor(share * 100)} % · ` : "";
    document.title = `${percent}${job?.name ?? ""} · Quire`;
  });
  if (problem) return <Refusal problem={problem} />;
  if (!job) return <p class="soft">{t("loading")}</p>;
  return (
    <>
      <p class="kicker">
        {t(job.kind === "train" ? "kind_train" : "kind_generate")} · <Status job={job} />
      </p>
      <h1 tabIndex={-1} dir="auto">
        {job.name}
      </h1>
      {closed && (
        <p class="error" role="alert">
          {closed}
        </p>
      )}
      {job.kind === "train" ? (
        <>
          <Figures job={job} />
          {points.length > 0 && <Curves points={points} history={history} />}
          <Samples texts={texts} ended={hasEnded(job)} isReadOnly />
        </>
      ) : (
        <Columns job={job} drafts={drafts} texts={texts} isReadOnly />
      )}
    </>
  );
}
