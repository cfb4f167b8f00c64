// What one model wrote for a request.
import { type Job, post } from "../../api/client";
import { t } from "../../i18n";
import { Button, Refusal } from "../../parts/form";
import { Place, Status, hasEnded } from "../../parts/job";
import { useAction } from "../../parts/load";
import { TellMe } from "../../parts/notify";
import type { Asked } from "../../parts/writing";
import { Columns } from "./columns";

interface Props {
  followed: Asked;
  /** The model's name, if there are several. */
  title: string;
  onGoOn(beginning: string): void;
}

export function Result({ followed, title, onGoOn }: Props) {
  const action = useAction();
  const job = followed.job;
  if (!job) return <Refusal problem={followed.problem} />;
  const cancel = () => action.run(() => followed.ask(() => post<Job>(`/v1/jobs/${job.id}/cancel`)));
  return (
    <section class="result" data-job={job.id} aria-label={title || t("result")}>
      {title && <h2 dir="auto">{title}</h2>}
      <p class="kicker" role="status">
        <Status job={job} />
      </p>
      <Place job={job} />
      {job.error && (
        <p class="error" role="alert">
          {job.error.title}. {job.error.detail}
        </p>
      )}
      {!hasEnded(job) && (
        <p class="actions">
          <Button onClick={cancel} busy={action.isBusy}>
            {t("cancel")}
          </Button>
          <TellMe job={job} />
        </p>
      )}
      <Refusal problem={action.problem} />
      <Columns job={job} drafts={followed.drafts} texts={followed.texts} onGoOn={onGoOn} />
    </section>
  );
}
