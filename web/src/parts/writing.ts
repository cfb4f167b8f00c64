// A job as its stream tells it: its state, the points of its curve, its texts as they are written.
import { useEffect, useRef, useState } from "preact/hooks";
import { type Job, type JobEvent, type Metric, type Page, type Problem, type Text, comebacks, everyItem, get } from "../api/client";
import { type Listener, type Piece, type Report, follow } from "../api/events";
import { type CurvePoint, pointOf, withPoint } from "./curve";
import { hasEnded } from "./job";
import { asProblem } from "./load";

export interface Draft {
  prompt: string;
  text: string;
}

export interface Followed {
  job: Job | undefined;
  problem: Problem | undefined;
  points: CurvePoint[];
  /** What happened to a training, as far as it was read. */
  history: JobEvent[];
  /** What is being written, by index; a finished text is in `texts`. */
  drafts: Draft[];
  texts: Text[];
}

/** Where a job is read from: one's own, or somebody's that a link shares. */
export interface Source {
  /** Another name is another job. */
  name: string;
  job(): Promise<Job>;
  metrics(points: number): Promise<Page<Metric>>;
  history(after: number): Promise<JobEvent[]>;
  texts(): Promise<Text[]>;
  follow(listener: Listener): () => void;
}

const ownJob = (id: string): Source => ({
  name: id,
  job: () => get<Job>(`/v1/jobs/${id}`),
  metrics: (points) => get<Page<Metric>>(`/v1/jobs/${id}/metrics?points=${points}`),
  history: (after) => everyItem<JobEvent>(`/v1/jobs/${id}/history?after=${after}`),
  texts: () => everyItem<Text>(`/v1/jobs/${id}/texts`),
  follow: (listener) => follow(id, listener),
});

const NOTHING: Followed = {
  job: undefined,
  problem: undefined,
  points: [],
  history: [],
  drafts: [],
  texts: [],
};
const MOST_POINTS = 1500;
const HISTORY_MILLISECONDS = 5000;

export const useJob = (id: string) => useSource(ownJob(id));

/** A job, and how to ask something of it. */
export interface Asked extends Followed {
  ask(request: () => Promise<Job>): Promise<void>;
}

export function useSource(source: Source): Asked {
  const told = useRef(0);
  const [found, setFound] = useState<Followed>(NOTHING);
  const change = (part: (before: Followed) => Partial<Followed>) =>
    setFound((before) => ({ ...before, ...part(before) }));

  useEffect(() => {
    setFound(NOTHING);
    if (!source.name) return;
    let isCurrent = true;
    let stop: (() => void) | undefined;
    let timer = 0;
    let lastEvent = 0;
    const readHistory = async () => {
      const events = await source.history(lastEvent);
      if (!isCurrent || !events.length) return;
      lastEvent = Math.max(...events.map((event) => event.id));
      change((before) => ({ history: [...before.history, ...events] }));
    };
    const historyLater = () => {
      timer ||= window.setTimeout(() => {
        timer = 0;
        void readHistory().catch(() => undefined);
      }, HISTORY_MILLISECONDS);
    };
    const start = async () => {
      const job = await source.job();
      if (!isCurrent) return;
      change(() => ({ job }));
      if (job.kind === "train") {
        const page = await source.metrics(MOST_POINTS);
        if (!isCurrent) return;
        change((before) => ({ points: page.items.map(pointOf).reduce(withPoint, before.points) }));
        await readHistory();
      }
      if (hasEnded(job)) {
        const texts = await source.texts();
        if (isCurrent) change(() => ({ texts }));
        return;
      }
      stop = source.follow({
        state: (job) => {
          told.current += 1;
          change(() => ({ job }));
          if (job.kind === "train") historyLater();
        },
        piece: (piece) => change((before) => ({ drafts: withPiece(before.drafts, piece) })),
        metrics: (report) => {
          change((before) => withReport(before, report));
          // A rollback is told by the history alone.
          if (report.judged) historyLater();
        },
        text: (text) => change((before) => ({ texts: withText(before.texts, text) })),
      });
    };
    let isUnanswered = false;
    const begin = () => {
      isUnanswered = false;
      start().catch((error: unknown) => {
        if (!isCurrent) return;
        const problem = asProblem(error);
        // What the server did not answer is asked again when it is back; until then a bar says so.
        isUnanswered = problem.status === 0;
        if (!isUnanswered) change(() => ({ problem }));
      });
    };
    begin();
    const forget = comebacks.listen(() => isUnanswered && begin());
    return () => {
      isCurrent = false;
      forget();
      clearTimeout(timer);
      stop?.();
    };
  }, [source.name]);

  const ask = async (request: () => Promise<Job>) => {
    const before = told.current;
    const job = await request();
    // The stream may have told more by now: a resumed job runs before its answer is here.
    if (told.current === before) change(() => ({ job }));
  };
  return { ...found, ask };
}

/** A live report repeats the validation loss until the next validation; the curve's points don't. */
function withReport(before: Followed, report: Report): Partial<Followed> {
  const { judged, ...progress } = report;
  const { step, loss = null, val_loss = null } = progress;
  const point = { step, loss, val_loss: judged ? val_loss : null, at: Date.now() };
  return {
    points: withPoint(before.points, point),
    job: before.job && { ...before.job, progress },
  };
}

/** A piece begins at an offset in characters, where those beyond U+FFFF count once. */
function withPiece(drafts: Draft[], piece: Piece): Draft[] {
  const next = [...drafts];
  const before = next[piece.index] ?? { prompt: "", text: "" };
  const kept = [...before.text].slice(0, piece.offset).join("");
  next[piece.index] = { prompt: piece.prompt ?? before.prompt, text: kept + piece.text };
  return next;
}

function withText(texts: Text[], text: Text): Text[] {
  return [...texts.filter((each) => each.id !== text.id), text];
}
