// The points of a loss curve, by step and by time of training, and what happened on the way.
import type { JobEvent, Metric } from "../api/client";
import { number, t } from "../i18n";
import type { en } from "../i18n/en";
import type { Mark } from "./plot";

export interface CurvePoint {
  step: number;
  loss: number | null;
  val_loss: number | null;
  /** Milliseconds. */
  at: number;
}

export type Axis = "step" | "time";

/** From the beginning of a run to its end, in milliseconds. */
type Run = [from: number, to: number];

export interface Happening {
  step: number;
  at: number;
  kind: "rollback" | "pause" | "resume";
  words: string;
}

const ENDS = new Set(["queued", "paused", "succeeded", "failed", "cancelled"]);
const SIGNS = { rollback: "↩", pause: "‖", resume: "▸" } as const;

export const pointOf = (metric: Metric): CurvePoint => ({
  step: metric.step,
  loss: metric.loss,
  val_loss: metric.val_loss,
  at: Date.parse(metric.at),
});

/** When a job had a worker, by its history. */
export function runsOf(history: JobEvent[]): Run[] {
  const runs: Run[] = [];
  let from: number | null = null;
  let before = 0;
  for (const event of history) {
    const at = Date.parse(event.at);
    if (event.type === "claimed") {
      if (from !== null) runs.push([from, before]); // its worker was lost
      from = at;
    } else if (from !== null && ENDS.has(event.type)) {
      runs.push([from, at]);
      from = null;
    }
    before = at;
  }
  if (from !== null) runs.push([from, Infinity]);
  return runs;
}

/** How long a job had trained at a moment, in seconds: waiting and pauses don't count. */
export function trainedSeconds(at: number, runs: Run[]): number {
  let sum = 0;
  for (const [from, to] of runs) sum += Math.max(0, Math.min(at, to) - from);
  return sum / 1000;
}

export function positions(points: CurvePoint[], axis: Axis, runs: Run[]): number[] {
  if (axis === "step") return points.map((point) => point.step);
  // Points that a lost worker left behind are older than those that were trained again before them.
  let reached = 0;
  return points.map((point) => (reached = Math.max(reached, trainedSeconds(point.at, runs))));
}

/** Rollbacks, pauses and resumes, each at its step. */
export function happenings(history: JobEvent[], points: CurvePoint[]): Happening[] {
  const found: Happening[] = [];
  let hasRun = false;
  for (const event of history) {
    const at = Date.parse(event.at);
    const { step, back_to } = event.data as { step?: number; back_to?: number };
    const add = (kind: Happening["kind"], words: keyof typeof en, where: number) =>
      found.push({
        step: where,
        at,
        kind,
        words: t(words, { step: number(where), back: number(back_to ?? 0) }),
      });
    const reached = () => points.findLast((point) => point.at <= at)?.step ?? 0;
    if (event.type === "rolled_back") add("rollback", "markRollback", step ?? reached());
    else if (event.type === "resumed") add("resume", "markResume", step ?? reached());
    else if (event.type === "paused" && hasRun) add("pause", "markPause", reached());
    else if (event.type === "queued" && hasRun) add("pause", "markYield", reached());
    if (event.type === "claimed") hasRun = true;
  }
  return found;
}

export function marksOf(found: Happening[], axis: Axis, runs: Run[]): Mark[] {
  const marks: Mark[] = [];
  for (const each of found) {
    const x = axis === "step" ? each.step : trainedSeconds(each.at, runs);
    const sign = SIGNS[each.kind];
    const last = marks.at(-1);
    // A pause and its resume are at one step.
    if (last?.x === x) last.sign += ` ${sign}`;
    else marks.push({ x, sign, colour: each.kind === "rollback" ? "validation" : "soft" });
  }
  return marks;
}

export const signOf = (each: Happening): string => SIGNS[each.kind];

// The loss of a point with a validation loss is the mean over its epoch, which lags behind: it
// counts only if there is no other point since the previous validation (quire/watch/curves.py).
export function trainingLosses(points: CurvePoint[]): (number | null)[] {
  let followsValidation = true;
  return points.map((point) => {
    const counts = point.val_loss === null || followsValidation;
    followsValidation = point.val_loss !== null;
    return counts ? point.loss : null;
  });
}

export function withPoint(points: CurvePoint[], point: CurvePoint): CurvePoint[] {
  const last = points.at(-1);
  if (!last || point.step > last.step) return [...points, point];
  const at = points.findIndex((each) => each.step >= point.step);
  const replaced = points[at]?.step === point.step ? 1 : 0;
  return points.toSpliced(at, replaced, point);
}
