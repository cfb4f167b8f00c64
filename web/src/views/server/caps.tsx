// Shares and caps, of a user or a group. An empty field is the default, or no cap at all.
import { useEffect, useState } from "preact/hooks";
import { type Usage, get, patch } from "../../api/client";
import { t } from "../../i18n";
import type { en } from "../../i18n/en";
import { Button, Input, Refusal } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";
import { Share } from "./overview";

export interface CapField {
  name: string;
  label: keyof typeof en;
  value: number | null;
  placeholder: string;
}

interface Props {
  fields: CapField[];
  onSave(changed: Record<string, unknown>): Promise<void>;
}

/** Fields for caps; what was changed is sent, and nothing else. */
export function CapsForm({ fields, onSave }: Props) {
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [isSaved, setSaved] = useState(false);
  const action = useAction();
  // What was saved is what the fields begin with from now on.
  useEffect(() => setTyped({}), [JSON.stringify(fields.map((each) => each.value))]);
  const changed: Record<string, unknown> = {};
  for (const each of fields) {
    const value = typed[each.name]?.trim();
    if (value === undefined || value === String(each.value ?? "")) continue;
    changed[each.name] = value === "" ? null : Number.isFinite(Number(value)) ? Number(value) : value;
  }
  const save = (event: Event) => {
    event.preventDefault();
    setSaved(false);
    action.run(async () => {
      await onSave(changed);
      setSaved(true);
    });
  };
  return (
    <form onSubmit={save}>
      <div class="grid">
        {fields.map((each) => (
          <Input
            key={each.name}
            label={t(each.label)}
            value={typed[each.name] ?? String(each.value ?? "")}
            placeholder={each.placeholder}
            onValue={(value) => setTyped({ ...typed, [each.name]: value })}
            error={action.problem?.fields[each.name]}
            inputMode="decimal"
          />
        ))}
      </div>
      <Refusal problem={action.problem} shown={fields.map((each) => each.name)} />
      <p class="actions">
        <Button type="submit" busy={action.isBusy} disabled={!Object.keys(changed).length}>
          {t("save")}
        </Button>
        <span class="soft" role="status">
          {isSaved && t("saved")}
        </span>
      </p>
    </form>
  );
}

/** The use, share and caps of a user, for admins. */
export function UserCaps({ user }: { user: string }) {
  const path = `/v1/usage/${encodeURIComponent(user)}`;
  const usage = useLoaded(() => get<Usage>(path), user);
  const found = usage.value;
  if (!found) return <Refusal problem={usage.problem} />;
  const cap = (name: string, label: keyof typeof en, of: Usage["running"]): CapField => ({
    name,
    label,
    value: of.own ? of.cap : null,
    placeholder: t("serversDefault"),
  });
  const fields: CapField[] = [
    { name: "share", label: "shareWeight", value: found.share, placeholder: "1" },
    cap("max_running", "running", found.running),
    cap("max_queued", "queued", found.queued),
    cap("max_device_seconds_per_day", "deviceSecondsADay", found.device_seconds_today),
    cap("max_stored_bytes", "storedBytes", found.stored_bytes),
    cap("max_corpora_bytes", "corporaBytes", found.corpora_bytes),
  ];
  return (
    <>
      <Share usage={found} title={t("usageOf", { user })} />
      <h3>{t("capsOf", { user })}</h3>
      <CapsForm
        fields={fields}
        onSave={async (changed) => {
          await patch(path, changed);
          usage.reload();
        }}
      />
    </>
  );
}
