// A job in words: its status, its progress, its place in the line.
import type { Job } from "../api/client";
import { clock, duration, t } from "../i18n";
import type { en } from "../i18n/en";

export const hasEnded = (job: Job): boolean =>
  ["succeeded", "failed", "cancelled"].includes(job.status);

export function Status({ job }: { job: Job }) {
  const asked = !hasEnded(job) && (job.cancel_requested ? "cancelling" : job.pause_requested && job.status === "running" ? "pausing" : "");
  return (
    <span class={`status ${job.status}`}>
      {t(asked || (`status_${job.status}` as keyof typeof en))}
    </span>
  );
}

/** From 0 to 1; null if it is not known. */
export function progressOf(job: Job): number | null {
  const progress = job.progress;
  if (!progress?.steps_total) return job.status === "succeeded" ? 1 : null;
  return Math.min(1, progress.step / progress.steps_total);
}

export function Place({ job }: { job: Job }) {
  const place = job.queue;
  if (!place || job.status !== "queued") return null;
  const { position, reason, starts_at } = place;
  return (
    <p class="soft" role="status">
      {position === null
        ? t("waitsFor", { reason })
        : t("position", { n: position, reason })}
      {starts_at && ` · ${t("startsAbout", { time: clock(starts_at) })}`}
    </p>
  );
}

export function timeLeft(job: Job): string {
  const seconds = job.progress?.seconds_left;
  if (job.status !== "running" || seconds === null || seconds === undefined) return "";
  return t("timeLeft", { time: duration(seconds) });
}
