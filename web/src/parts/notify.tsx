// A notification at the end of a job, for whoever asks for it. Nobody is asked unasked.
import { type Job, get } from "../api/client";
import { t } from "../i18n";
import type { en } from "../i18n/en";
import { store, useStore } from "../store";
import { Button } from "./form";
import { hasEnded } from "./job";

const KEPT = "notify";
const ASK_MILLISECONDS = 5000;

/** The jobs that are told of, over a reload of the tab. */
const awaited = store<string[]>(JSON.parse(sessionStorage.getItem(KEPT) ?? "[]") as string[]);
const refused = store(false);

function keep(jobs: string[]): void {
  awaited.set(jobs);
  sessionStorage.setItem(KEPT, JSON.stringify(jobs));
}

const without = (id: string) => awaited.get().filter((each) => each !== id);

async function look(): Promise<void> {
  for (const id of awaited.get()) {
    try {
      const job = await get<Job>(`/v1/jobs/${id}`);
      if (hasEnded(job)) tell(job);
    } catch {
      // The server is away, or nobody is signed in: later.
    }
  }
}

function tell(job: Job): void {
  if (!awaited.get().includes(job.id)) return;
  keep(without(job.id));
  const notification = new Notification(job.name, {
    body: t(`status_${job.status}` as keyof typeof en),
    tag: job.id,
  });
  notification.onclick = () => {
    focus();
    notification.close();
  };
}

setInterval(() => void look(), ASK_MILLISECONDS);

async function ask(id: string): Promise<void> {
  const answer = await Notification.requestPermission();
  refused.set(answer !== "granted");
  if (answer === "granted") keep([...without(id), id]);
}

/** Browsers notify in a secure context only; elsewhere the button is not there. */
const canNotify = "Notification" in window && isSecureContext;

export function TellMe({ job }: { job: Job }) {
  const isAwaited = useStore(awaited).includes(job.id);
  const isRefused = useStore(refused);
  if (!canNotify || hasEnded(job)) return null;
  return (
    <>
      <Button
        aria-pressed={isAwaited}
        onClick={() => (isAwaited ? keep(without(job.id)) : void ask(job.id))}
      >
        {t(isAwaited ? "tellsMe" : "tellMe")}
      </Button>
      {isRefused && !isAwaited && (
        <span class="hint" role="status">
          {t("notificationsRefused")}
        </span>
      )}
    </>
  );
}
