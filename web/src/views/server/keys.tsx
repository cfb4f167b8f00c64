// Keys of a person, and the browsers that are signed in with them.
import { useState } from "preact/hooks";
import { type Key, type NewKey, type Page, get, post, remove } from "../../api/client";
import { moment, t } from "../../i18n";
import { Button, Refusal, SureButton } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";

export function Keys({ user, title }: { user: string; title: string }) {
  const keys = useLoaded(() => get<Page<Key>>(`/v1/users/${encodeURIComponent(user)}/keys?limit=200`), user);
  const [shown, setShown] = useState("");
  const action = useAction();
  const make = () =>
    action.run(async () => {
      const made = await post<NewKey>(`/v1/users/${encodeURIComponent(user)}/keys`, {});
      setShown(made.key ?? "");
      keys.reload();
    });
  const revoke = (key: Key) =>
    action.run(async () => {
      await remove(`/v1/keys/${key.id}`);
      keys.reload();
    });
  return (
    <section>
      <h2>{title}</h2>
      <Refusal problem={keys.problem} />
      <ul class="list">
        {keys.value?.items.map((key) => (
          <li key={key.id}>
            <span>
              <code>{key.prefix}</code> {key.name}
            </span>
            <span class="soft">
              {key.sessions.length > 0 && `${t("browsers", { n: key.sessions.length })} · `}
              {moment(key.created_at)} ·{" "}
              {key.revoked_at ? (
                t("revoked")
              ) : (
                <SureButton label={t("revoke")} name={key.prefix} onSure={() => revoke(key)} />
              )}
            </span>
          </li>
        ))}
      </ul>
      <Refusal problem={action.problem} />
      <p class="actions">
        <Button onClick={make} busy={action.isBusy}>
          {t("newKey")}
        </Button>
      </p>
      {shown && <Secret label={t("newKeyShown")} value={shown} />}
    </section>
  );
}

/** What is shown once. */
export function Secret({ label, value }: { label: string; value: string }) {
  return (
    <p role="status">
      {label}
      <br />
      <code class="secret">{value}</code>
    </p>
  );
}
