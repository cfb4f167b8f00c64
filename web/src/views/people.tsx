// Keys of a person, and, for admins, the people.
import { useState } from "preact/hooks";
import { type Key, type NewKey, type Page, type User, call, get, post, session } from "../api/client";
import { moment, t } from "../i18n";
import { Button, Input, Refusal } from "../parts/form";
import { useAction, useLoaded } from "../parts/load";

export function Keys({ user, title }: { user: string; title: string }) {
  const keys = useLoaded(() => get<Page<Key>>(`/v1/users/${encodeURIComponent(user)}/keys`), user);
  const [shown, setShown] = useState("");
  const [armed, setArmed] = useState("");
  const action = useAction();
  const make = () =>
    action.run(async () => {
      const made = await post<NewKey>(`/v1/users/${encodeURIComponent(user)}/keys`, {});
      setShown(made.key ?? "");
      keys.reload();
    });
  const revoke = (key: Key) => {
    if (armed !== key.id) {
      setArmed(key.id);
      return;
    }
    setArmed("");
    action.run(async () => {
      await call("DELETE", `/v1/keys/${key.id}`);
      keys.reload();
    });
  };
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
                <Button onClick={() => revoke(key)} aria-label={`${t("revoke")} ${key.prefix}`}>
                  {armed === key.id ? t("sure") : t("revoke")}
                </Button>
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

function Secret({ label, value }: { label: string; value: string }) {
  return (
    <p role="status">
      {label}
      <br />
      <code class="secret">{value}</code>
    </p>
  );
}

export function People() {
  const people = useLoaded(() => get<Page<User>>("/v1/users?limit=200"));
  const [name, setName] = useState("");
  const [made, setMade] = useState<{ name: string; key: string }>();
  const [opened, setOpened] = useState("");
  const action = useAction();
  const me = session.get()?.user.name;
  const add = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      const user = await post<User>("/v1/users", { name: name.trim() });
      const key = await post<NewKey>(`/v1/users/${user.id}/keys`, {});
      setMade({ name: user.name, key: key.key ?? "" });
      setName("");
      people.reload();
    });
  };
  const change = (user: User) =>
    action.run(async () => {
      await call("PATCH", `/v1/users/${user.id}`, { disabled: !user.disabled_at });
      people.reload();
    });
  return (
    <section>
      <h2>{t("people")}</h2>
      <Refusal problem={people.problem} />
      <ul class="list">
        {people.value?.items.map((user) => (
          <li key={user.id}>
            <span>{user.name}</span>
            <span class="soft">
              {t(user.role === "admin" ? "role_admin" : "role_member")}
              {user.disabled_at && ` · ${t("disabled")}`}{" "}
              {user.name !== me && (
                <>
                  <Button
                    onClick={() => setOpened(opened === user.name ? "" : user.name)}
                    aria-expanded={opened === user.name}
                    aria-label={t("keyOf", { user: user.name })}
                  >
                    {t("showKeys")}
                  </Button>{" "}
                  <Button
                    onClick={() => change(user)}
                    aria-label={`${t(user.disabled_at ? "enable" : "disable")} ${user.name}`}
                  >
                    {t(user.disabled_at ? "enable" : "disable")}
                  </Button>
                </>
              )}
            </span>
          </li>
        ))}
      </ul>
      <form class="row" onSubmit={add}>
        <Input label={t("personName")} value={name} onValue={setName} error={action.problem?.fields["name"]} />
        <Button type="submit" busy={action.isBusy} disabled={!name.trim()}>
          {t("addPerson")}
        </Button>
      </form>
      <Refusal problem={action.problem} shown={["name"]} />
      {made && <Secret label={t("personKey", { user: made.name })} value={made.key} />}
      {opened && <Keys key={opened} user={opened} title={t("keyOf", { user: opened })} />}
    </section>
  );
}
