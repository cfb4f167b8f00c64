// A job as its stream tells it: its state, the points of its curve, its texts as they are written.
import { useEffect, useState } from "preact/hooks";
import { type Job, type Metric, type Page, type Problem, type Text, get } from "../api/client";
import { type Piece, type Report, follow } from "../api/events";
import type { CurvePoint } from "./chart";
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
  /** What is being written, by index; a finished text is in `texts`. */
  drafts: Draft[];
  texts: Text[];
}

const NOTHING: Followed = { job: undefined, problem: undefined, points: [], drafts: [], texts: [] };
const MOST_POINTS = 1500;

export function useJob(id: string): Followed & { update(job: Job): void } {
  const [found, setFound] = useState<Followed>(NOTHING);
  const change = (part: (before: Followed) => Partial<Followed>) =>
    setFound((before) => ({ ...before, ...part(before) }));

  useEffect(() => {
    setFound(NOTHING);
    if (!id) return;
    let isCurrent = true;
    let stop: (() => void) | undefined;
    const start = async () => {
      const job = await get<Job>(`/v1/jobs/${id}`);
      if (!isCurrent) return;
      change(() => ({ job }));
      if (job.kind === "train") {
        const page = await get<Page<Metric>>(`/v1/jobs/${id}/metrics?points=${MOST_POINTS}`);
        if (!isCurrent) return;
        change((before) => ({ points: page.items.reduce(withPoint, before.points) }));
      }
      if (hasEnded(job)) {
        const texts = await everyText(id);
        if (isCurrent) change(() => ({ texts }));
        return;
      }
      stop = follow(id, {
        state: (job) => change(() => ({ job })),
        piece: (piece) => change((before) => ({ drafts: withPiece(before.drafts, piece) })),
        metrics: (report) => change((before) => withReport(before, report)),
        text: (text) => change((before) => ({ texts: withText(before.texts, text) })),
      });
    };
    start().catch((error: unknown) => isCurrent && change(() => ({ problem: asProblem(error) })));
    return () => {
      isCurrent = false;
      stop?.();
    };
  }, [id]);

  return { ...found, update: (job) => change(() => ({ job })) };
}

async function everyText(id: string): Promise<Text[]> {
  const texts: Text[] = [];
  let cursor = "";
  do {
    const after = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get<Page<Text>>(`/v1/jobs/${id}/texts?limit=200${after}`);
    texts.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor && texts.length < 2000);
  return texts;
}

function withPoint(points: CurvePoint[], point: CurvePoint): CurvePoint[] {
  const last = points.at(-1);
  if (!last || point.step > last.step) return [...points, point];
  const at = points.findIndex((each) => each.step >= point.step);
  const replaced = points[at]?.step === point.step ? 1 : 0;
  return points.toSpliced(at, replaced, point);
}

/** A live report repeats the validation loss until the next validation; the curve's points don't. */
function withReport(before: Followed, report: Report): Partial<Followed> {
  const { judged, ...progress } = report;
  const { step, loss = null, val_loss = null } = progress;
  const point = { step, loss, val_loss: judged ? val_loss : null };
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
