// One event stream for all that this tab watches. Browsers open six connections to a host over all
// their tabs, so that a hidden tab lets its stream go. The last id resumes it without a gap.
import { type Job, type Text, findSession, get, isAway, lost, signedOutBecause } from "./client";

export interface Piece {
  index: number;
  offset: number;
  text: string;
  prompt?: string;
}

/** A training's progress; `judged` if it was validated just now. */
export type Report = NonNullable<Job["progress"]> & { judged: boolean };

export interface Listener {
  state?(job: Job): void;
  piece?(piece: Piece): void;
  metrics?(report: Report): void;
  text?(text: Text): void;
}

const KINDS = ["state", "piece", "metrics", "text", "closed"] as const;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const RETRY_MILLISECONDS = 2000;
const HIDDEN_MILLISECONDS = 15_000;
const MOST_JOBS = 16;

const listeners = new Map<string, Set<Listener>>();
let source: EventSource | null = null;
let lastId = "";
let timer = 0;

/** Follow a job until it ends; the result stops. At most sixteen jobs are followed at once. */
export function follow(job: string, listener: Listener): () => void {
  const own = listeners.get(job) ?? new Set();
  own.add(listener);
  listeners.set(job, own);
  // A new view begins with what exists; the listeners of a job bear hearing something twice.
  lastId = lastId.split(",").filter((place) => !place.startsWith(job)).join(",");
  restart();
  return () => {
    own.delete(listener);
    if (!own.size && listeners.get(job) === own) {
      listeners.delete(job);
      restart();
    }
  };
}

function restart(): void {
  source?.close();
  source = null;
  clearTimeout(timer);
  // Those who begin at the same moment share one stream.
  timer = window.setTimeout(open, 20);
}

function open(): void {
  const jobs = [...listeners.keys()].slice(-MOST_JOBS);
  // Only jobs that are still watched resume: another view of a job begins with what exists.
  const places = lastId.split(",").filter((place) => jobs.includes(place.split(":")[0] ?? ""));
  lastId = places.join(",");
  if (document.hidden || !jobs.length) return;
  const after = lastId && `&after=${encodeURIComponent(lastId)}`;
  const opened = new EventSource(`/v1/events?jobs=${jobs.join(",")}${after}`);
  source = opened;
  for (const kind of KINDS) {
    opened.addEventListener(kind, (event) => {
      if (opened === source) receive(kind, event as MessageEvent<string>);
    });
  }
  opened.onerror = () => {
    if (opened !== source) return;
    source.close();
    source = null;
    if (listeners.size) void reopen();
  };
}

/** The stream broke: the server is away, has no seat, or all jobs have ended. */
async function reopen(): Promise<void> {
  const response = await fetch("/health/live", { cache: "no-store" }).catch(() => null);
  if (response === null) lost();
  else await findSession().catch(() => undefined);
  clearTimeout(timer);
  timer = window.setTimeout(open, RETRY_MILLISECONDS);
}

isAway.listen(() => {
  if (!isAway.get() && !source) restart();
});

function receive(kind: (typeof KINDS)[number], event: MessageEvent<string>): void {
  const { job, data } = JSON.parse(event.data);
  if (event.lastEventId) lastId = event.lastEventId;
  if (kind === "closed") {
    signedOutBecause.set(data.reason);
    listeners.clear();
    restart();
    void findSession().catch(() => undefined);
    return;
  }
  const own = listeners.get(job);
  for (const listener of [...(own ?? [])]) listener[kind]?.(data);
  if (kind === "state" && ENDED.has(data.status) && listeners.get(job) === own) {
    // Nothing follows. The stream goes on for the others, and is let go when none is left.
    listeners.delete(job);
    if (!listeners.size) restart();
  }
}

/** Follow a job that a link shares; it is closed with a reason when the link has ended. */
export function followShared(
  token: string,
  listener: Listener,
  onClosed: (reason: string) => void,
): () => void {
  const shared = new EventSource(`/v1/shared/${encodeURIComponent(token)}/events`);
  for (const kind of KINDS) {
    shared.addEventListener(kind, (event) => {
      const data = JSON.parse((event as MessageEvent<string>).data);
      if (kind !== "closed") listener[kind]?.(data);
      else onClosed(data.reason);
      // Else the browser would connect again, without end.
      if (kind === "closed" || (kind === "state" && ENDED.has(data.status))) shared.close();
    });
  }
  return () => shared.close();
}

/** A hidden tab asks now and then, for its title. */
function ask(): void {
  if (!document.hidden || isAway.get()) return;
  for (const [job, own] of listeners) {
    void get<Job>(`/v1/jobs/${job}`)
      .then((found) => own.forEach((each) => each.state?.(found)))
      .catch(() => undefined);
  }
}

document.addEventListener("visibilitychange", restart);
setInterval(ask, HIDDEN_MILLISECONDS);
