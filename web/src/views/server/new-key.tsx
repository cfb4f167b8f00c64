// A new key: what it is for, what it may be used for, and how long.
import { useState } from "preact/hooks";
import { type NewKey, post } from "../../api/client";
import { t } from "../../i18n";
import type { en } from "../../i18n/en";
import { Button, Input, Refusal } from "../../parts/form";
import { useAction } from "../../parts/load";
import { Secret } from "./keys";

/** Every scope of the API: the compiler asks for those that are new. */
const SCOPES: Record<NewKey["scopes"][number], keyof typeof en> = {
  read: "scope_read",
  submit: "scope_submit",
  manage: "scope_manage",
  admin: "scope_admin",
  metrics: "scope_metrics",
};
const DAY_MILLISECONDS = 86_400_000;
const SHOWN = ["name", "expires_at"];

export function NewKeyForm({ user, onDone }: { user: string; onDone(): void }) {
  const [name, setName] = useState("");
  const [days, setDays] = useState("");
  const [scopes, setScopes] = useState<string[]>([]);
  const [shown, setShown] = useState("");
  const action = useAction();
  const make = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      const body: Record<string, unknown> = {};
      if (name.trim()) body["name"] = name.trim();
      if (scopes.length) body["scopes"] = scopes;
      if (days.trim()) body["expires_at"] = inDays(days);
      const made = await post<NewKey>(`/v1/users/${encodeURIComponent(user)}/keys`, body);
      setShown(made.key ?? "");
      setName("");
      onDone();
    });
  };
  const refused = action.problem?.fields ?? {};
  return (
    <>
      <details>
        <summary>{t("newKey")}</summary>
        <form onSubmit={make}>
          <div class="row">
            <Input label={t("enrolName")} value={name} onValue={setName} error={refused["name"]} />
            <Input
              label={t("keyDays")}
              hint={t("keyDaysHint")}
              value={days}
              onValue={setDays}
              error={refused["expires_at"]}
              inputMode="decimal"
            />
          </div>
          <fieldset aria-describedby="scopes-hint">
            <legend>{t("scopes")}</legend>
            {Object.entries(SCOPES).map(([scope, words]) => (
              <label key={scope} class="check">
                <input
                  type="checkbox"
                  checked={scopes.includes(scope)}
                  onChange={(event) =>
                    setScopes(
                      event.currentTarget.checked ? [...scopes, scope] : scopes.filter((each) => each !== scope),
                    )
                  }
                />
                <span>
                  <code>{scope}</code> {t(words)}
                </span>
              </label>
            ))}
            <p class="hint" id="scopes-hint">
              {t("scopesHint")}
            </p>
            {refused["scopes"] && (
              <p class="error" role="alert">
                {refused["scopes"]}
              </p>
            )}
          </fieldset>
          <Refusal problem={action.problem} shown={[...SHOWN, "scopes"]} />
          <p class="actions">
            <Button type="submit" busy={action.isBusy}>
              {t("makeKey")}
            </Button>
          </p>
        </form>
      </details>
      {shown && <Secret label={t("newKeyShown")} value={shown} />}
    </>
  );
}

/** A moment so many days from now; what is no number the API refuses in its own words. */
function inDays(typed: string): string {
  const days = Number(typed.trim().replace(",", "."));
  const at = new Date(Date.now() + days * DAY_MILLISECONDS);
  return Number.isNaN(at.getTime()) ? typed : at.toISOString();
}
