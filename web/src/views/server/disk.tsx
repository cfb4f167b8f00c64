// What is stored on the server, and what is free: for admins.
import { type Storage, get } from "../../api/client";
import { size, t } from "../../i18n";
import { Refusal } from "../../parts/form";
import { useLoaded } from "../../parts/load";

/** The disk fills slowly, and the sums cost the database something. */
const POLL_MILLISECONDS = 60_000;

export function Disk() {
  const storage = useLoaded(() => get<Storage>("/v1/storage"), "", POLL_MILLISECONDS);
  const found = storage.value;
  const { disk_bytes: disk = null, disk_free_bytes: free = null } = found ?? {};
  const isLow = found !== undefined && free !== null && free < found.min_free_bytes;
  return (
    <section>
      <h2>{t("disk")}</h2>
      <Refusal problem={storage.problem} />
      {isLow && (
        <p class="error" role="alert">
          {t("diskLow", { floor: size(found.min_free_bytes) })}
        </p>
      )}
      {found && (
        <dl class="caps">
          <Row
            name={t("diskFree")}
            value={
              free === null || disk === null ? t("diskUnknown") : t("ofCap", { used: size(free), cap: size(disk) })
            }
          />
          <Row name={t("corporaTitle")} value={size(found.corpora_bytes)} />
          <Row name={t("checkpoints")} value={size(found.checkpoints_bytes)} />
          <Row name={t("blobs")} value={size(found.blobs_bytes)} />
          {found.database_bytes !== null && <Row name={t("database")} value={size(found.database_bytes)} />}
        </dl>
      )}
    </section>
  );
}

const Row = ({ name, value }: { name: string; value: string }) => (
  <div>
    <dt>{name}</dt>
    <dd>{value}</dd>
  </div>
);
