// Keys of a person, and the browsers that are signed in with them.
import { type Key, type Page, get, remove } from "../../api/client";
import { moment, t } from "../../i18n";
import { Refusal, SureButton } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";
import { NewKeyForm } from "./new-key";

export function Keys({ user, title }: { user: string; title: string }) {
  const keys = useLoaded(() => get<Page<Key>>(`/v1/users/${encodeURIComponent(user)}/keys?limit=200`), user);
  const action = useAction();
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
              <code>{key.prefix}</code> <bdi>{key.name}</bdi>
              <small class="reason">{key.scopes.join(" · ")}</small>
            </span>
            <span class="soft">
              {key.sessions.length > 0 && `${t("browsers", { n: key.sessions.length })} · `}
              {key.last_used_at && `${t("usedAt", { time: moment(key.last_used_at) })} · `}
              {key.expires_at ? t("endsAt", { time: moment(key.expires_at) }) : moment(key.created_at)} ·{" "}
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
      <NewKeyForm user={user} onDone={keys.reload} />
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
