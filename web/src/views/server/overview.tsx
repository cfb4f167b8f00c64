// Devices, the line, and one's own share, use, caps and keys.
import { type Cap, type Job, type Page, type Queue, type Usage, get, post, session } from "../../api/client";
import { useState } from "preact/hooks";
import { clock, duration, number, size, t } from "../../i18n";
import type { en } from "../../i18n/en";
import { Button, Input, Refusal } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";
import { Announce } from "./announce";
import { Devices } from "./devices";
import { Disk } from "./disk";
import { Keys } from "./keys";
import { Notifications } from "./notifications";

const POLL_MILLISECONDS = 5000;

export function Overview() {
  const usage = useLoaded(() => get<Usage>("/v1/usage"), "", POLL_MILLISECONDS);
  const me = session.get()?.user;
  const isAdmin = me?.role === "admin";
  return (
    <>
      <Refusal problem={usage.problem} />
      <Devices isAdmin={isAdmin} />
      <Line isAdmin={isAdmin} />
      {isAdmin && <Announce />}
      {isAdmin && <Disk />}
      {usage.value && <Share usage={usage.value} title={t("usage")} />}
      {me && <Keys user={me.name} title={t("keys")} />}
      <Notifications />
    </>
  );
}

function Line({ isAdmin }: { isAdmin: boolean }) {
  const queue = useLoaded(() => get<Queue>("/v1/queue"), "", POLL_MILLISECONDS);
  const waiting = useLoaded(() => get<Page<Job>>("/v1/jobs?status=queued&limit=200"), "", POLL_MILLISECONDS);
  const action = useAction();
  const own = new Map(waiting.value?.items.map((job) => [job.id, job]));
  const inLine = new Set(queue.value?.line.map((entry) => entry.job));
  // What waits for another job, or for a cap, has no place in the line, and a reason all the same.
  const aside = [...own.values()].filter((job) => !inLine.has(job.id));
  const ask = (job: string, what: string) => () =>
    action.run(async () => {
      await post(`/v1/jobs/${job}/${what}`);
      queue.reload();
      waiting.reload();
    });
  return (
    <section>
      <h2>{t("line")}</h2>
      <Refusal problem={queue.problem} />
      {queue.value?.lanes.map((lane) => (
        <p key={lane.kind}>
          {t("lineOf", {
            kind: t(lane.kind === "train" ? "kind_train" : "kind_generate"),
            running: lane.running,
            queued: lane.queued,
            workers: lane.workers,
          })}
        </p>
      ))}
      {queue.value?.line.length === 0 && !aside.length ? (
        <p class="soft">{t("lineEmpty")}</p>
      ) : (
        <p class="soft">{t("lineRule")}</p>
      )}
      <ol class="list">
        {queue.value?.line.map((entry) => (
          <li key={`${entry.kind} ${entry.position}`}>
            <span>
              {entry.position} ·{" "}
              {entry.job ? (
                <a href={`/watch/${entry.job}`} data-view dir="auto">
                  {entry.name}
                </a>
              ) : (
                (entry.user ?? t("someone"))
              )}
              {entry.job && <Reason job={own.get(entry.job)} />}
            </span>
            <span class="soft">
              {t(entry.kind === "train" ? "kind_train" : "kind_generate")}
              {entry.mine && ` · ${t("yours")}`}
              {entry.starts_at && ` · ${t("startsAbout", { time: clock(entry.starts_at) })}`}{" "}
              {entry.job && isAdmin && (
                <Button onClick={ask(entry.job, "promote")} aria-label={`${t("promote")} ${entry.name}`}>
                  {t("promote")}
                </Button>
              )}{" "}
              {entry.job && (
                <Button onClick={ask(entry.job, "cancel")} aria-label={`${t("cancel")} ${entry.name}`}>
                  {t("cancel")}
                </Button>
              )}
            </span>
          </li>
        ))}
        {aside.map((job) => (
          <li key={job.id}>
            <span>
              <a href={`/watch/${job.id}`} data-view dir="auto">
                {job.name}
              </a>
              <Reason job={job} />
            </span>
            <span class="soft">
              {t(job.kind === "train" ? "kind_train" : "kind_generate")} · {t("yours")}{" "}
              <Button onClick={ask(job.id, "cancel")} aria-label={`${t("cancel")} ${job.name}`}>
                {t("cancel")}
              </Button>
            </span>
          </li>
        ))}
      </ol>
      {isAdmin && <Promote onDone={queue.reload} />}
      <Refusal problem={action.problem} />
    </section>
  );
}

/** Why a job of one's own waits, in the API's words. */
function Reason({ job }: { job: Job | undefined }) {
  return job?.queue ? <small class="reason">{job.queue.reason}</small> : null;
}

/** An admin sees whose a job in the line is, and not which: its owner tells the id. */
function Promote({ onDone }: { onDone(): void }) {
  const [id, setId] = useState("");
  const [done, setDone] = useState("");
  const action = useAction();
  const promote = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      await post(`/v1/jobs/${encodeURIComponent(id.trim())}/promote`);
      setDone(id.trim());
      setId("");
      onDone();
    });
  };
  return (
    <form class="row" onSubmit={promote}>
      <Input
        label={t("promoteId")}
        hint={t("promoteHint")}
        value={id}
        onValue={setId}
        error={action.problem?.status ? action.problem.message : undefined}
      />
      <Button type="submit" busy={action.isBusy} disabled={!id.trim()}>
        {t("promote")}
      </Button>
      {done && (
        <p class="soft" role="status">
          {t("promoted", { id: done })}
        </p>
      )}
    </form>
  );
}

export function Share({ usage, title }: { usage: Usage; title: string }) {
  const caps: [keyof typeof en, Cap, (value: number) => string][] = [
    ["device_seconds_today", usage.device_seconds_today, duration],
    ["running", usage.running, number],
    ["queued", usage.queued, number],
    ["stored_bytes", usage.stored_bytes, size],
    ["corpora_bytes", usage.corpora_bytes, size],
    ["corpora", usage.corpora, number],
    ["modelsCount", usage.models, number],
    ["keysCount", usage.keys, number],
  ];
  return (
    <section>
      <h2>{title}</h2>
      <dl class="caps">
        <div>
          <dt>{t("share")}</dt>
          <dd>{number(usage.share_served * 100, 1)} %</dd>
        </div>
        {caps.map(([name, cap, show]) => (
          <div key={name}>
            <dt>{t(name)}</dt>
            <dd>
              {cap.cap === null
                ? t("unlimited", { used: show(cap.used) })
                : t("ofCap", { used: show(cap.used), cap: show(cap.cap) })}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
