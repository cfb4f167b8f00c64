// What was sent about a job that has ended, and what became of it.
import { type Delivery } from "../../api/client";
import { moment, t } from "../../i18n";
import { useList } from "../../parts/load";
import { Outcome } from "../server/notifications";

const POLL_MILLISECONDS = 10_000;

export function Deliveries({ job }: { job: string }) {
  const sent = useList<Delivery>(`/v1/jobs/${job}/deliveries?limit=50`, POLL_MILLISECONDS);
  if (!sent.items.length) return null;
  return (
    <details>
      <summary>{t("deliveries", { n: sent.items.length })}</summary>
      <ul class="list">
        {sent.items.map((each) => (
          <li key={each.id}>
            <span>
              {each.target}
              <small class="reason">
                {each.event} · {moment(each.created_at)}
              </small>
            </span>
            <span class="soft">
              <Outcome delivery={each} />
            </span>
          </li>
        ))}
      </ul>
    </details>
  );
}
