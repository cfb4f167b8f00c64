// Who did what to whose, when and from where, for admins.
import { type AuditEvent, get } from "../../api/client";
import { moment, t } from "../../i18n";
import { Button, Input, Refusal, Select } from "../../parts/form";
import { useList, useLoaded } from "../../parts/load";
import { useDraft } from "../../store";

interface Parameter {
  name: string;
  schema: { enum?: string[]; anyOf?: { enum?: string[] }[]; $ref?: string };
}

interface Document {
  paths: Record<string, { get?: { parameters?: Parameter[] } }>;
}

/** The actions that the OpenAPI document names. */
function actionsOf(document: Document | undefined): string[] {
  const parameters = document?.paths["/v1/audit"]?.get?.parameters ?? [];
  const schema = parameters.find((each) => each.name === "action")?.schema;
  return schema?.enum ?? schema?.anyOf?.find((each) => each.enum)?.enum ?? [];
}

export function Audit() {
  const [action, setAction] = useDraft("audit.action", "");
  const [user, setUser] = useDraft("audit.user", "");
  const [address, setAddress] = useDraft("audit.address", "");
  const document = useLoaded(() => get<Document>("/openapi.json"));
  const query = new URLSearchParams({ limit: "50" });
  if (action) query.set("action", action);
  if (user.trim()) query.set("user", user.trim());
  if (address.trim()) query.set("address", address.trim());
  const events = useList<AuditEvent>(`/v1/audit?${query}`);
  return (
    <section>
      <h2>{t("audit")}</h2>
      <div class="row">
        <Select
          label={t("auditAction")}
          value={action}
          options={[["", t("any")], ...actionsOf(document.value).map((each): [string, string] => [each, each])]}
          onValue={setAction}
        />
        <Input label={t("auditUser")} value={user} onValue={setUser} />
        <Input label={t("auditAddress")} value={address} onValue={setAddress} />
      </div>
      <Refusal problem={events.problem} />
      {events.isLoaded && !events.items.length && <p class="soft">{t("auditEmpty")}</p>}
      <ul class="list">
        {events.items.map((event) => (
          <li key={event.id}>
            <span>
              <strong>{event.action}</strong> {event.user}
              {event.count > 1 && ` × ${event.count}`}
              {event.details && <small class="reason">{inWords(event.details)}</small>}
            </span>
            <span class="soft">
              {[moment(event.at), event.actor, event.key_prefix, event.address].filter(Boolean).join(" · ")}
            </span>
          </li>
        ))}
      </ul>
      {events.more && (
        <Button onClick={events.more} busy={events.isBusy}>
          {t("showMore")}
        </Button>
      )}
    </section>
  );
}

function inWords(details: Record<string, unknown>): string {
  return Object.entries(details)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" · ");
}
