// The admin's announcement, shown above every view.
import { type Announced, get } from "../api/client";
import { clock, t } from "../i18n";
import { store, useStore } from "../store";
import { useLoaded } from "./load";

const POLL_MILLISECONDS = 60_000;
/** Counts what this tab has announced or ended, so that the change is shown at once. */
export const announcements = store(0);

export function Announcement() {
  const times = useStore(announcements);
  const found = useLoaded(() => get<Announced>("/v1/announcement"), String(times), POLL_MILLISECONDS);
  const told = found.value?.announcement;
  return (
    <div role="status" class={told ? `announced ${told.level}` : ""}>
      {told && (
        <>
          <span dir="auto">{told.text}</span>
          {told.ends_at && <small class="soft"> · {t("untilTime", { time: clock(told.ends_at) })}</small>}
        </>
      )}
    </div>
  );
}
