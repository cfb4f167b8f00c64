// The people of the server, for admins: who they are, what they may use, how they get in.
import { useState } from "preact/hooks";
import { type NewKey, type User, patch, post, session } from "../../api/client";
import { t } from "../../i18n";
import { Button, Input, Refusal, Select } from "../../parts/form";
import { useAction, useList } from "../../parts/load";
import { useDraft } from "../../store";
import { AddMany, newLink } from "./add-many";
import { UserCaps } from "./caps";
import { Keys, Secret } from "./keys";

type Opened = { user: string; what: "keys" | "caps" };

export function People() {
  const people = useList<User>("/v1/users?limit=50");
  const [opened, setOpened] = useState<Opened>();
  const [link, setLink] = useState<{ user: string; link: string }>();
  const action = useAction();
  const me = session.get()?.user.name;
  const change = (user: User) =>
    action.run(async () => {
      await patch(`/v1/users/${user.id}`, { disabled: !user.disabled_at });
      people.reload();
    });
  const enrol = (user: User) =>
    action.run(async () => setLink({ user: user.name, link: await newLink(user.id) }));
  const toggle = (user: User, what: Opened["what"]) =>
    setOpened(opened?.user === user.name && opened.what === what ? undefined : { user: user.name, what });
  const isOpen = (user: User, what: Opened["what"]) => opened?.user === user.name && opened.what === what;
  return (
    <>
      <AddPerson onDone={people.reload} />
      <AddMany
        draft="people"
        onDone={people.reload}
        make={async (name) => (await post<User>("/v1/users", { name })).id}
      />
      <section>
        <h2>{t("people")}</h2>
        <Refusal problem={people.problem ?? action.problem} />
        {link && <Secret label={t("personLink", { user: link.user })} value={link.link} />}
        <ul class="list">
          {people.items.map((user) => (
            <li key={user.id}>
              <span dir="auto">{user.name}</span>
              <span class="soft buttons">
                {t(user.role === "admin" ? "role_admin" : "role_member")}
                {user.disabled_at && ` · ${t("disabled")}`}{" "}
                <Button
                  onClick={() => toggle(user, "caps")}
                  aria-expanded={isOpen(user, "caps")}
                  aria-label={t("capsOf", { user: user.name })}
                >
                  {t("caps")}
                </Button>
                {user.name !== me && (
                  <>
                    <Button
                      onClick={() => toggle(user, "keys")}
                      aria-expanded={isOpen(user, "keys")}
                      aria-label={t("keyOf", { user: user.name })}
                    >
                      {t("showKeys")}
                    </Button>
                    <Button onClick={() => enrol(user)} aria-label={t("linkFor", { user: user.name })}>
                      {t("link")}
                    </Button>
                    <Button
                      onClick={() => change(user)}
                      aria-label={`${t(user.disabled_at ? "enable" : "disable")} ${user.name}`}
                    >
                      {t(user.disabled_at ? "enable" : "disable")}
                    </Button>
                  </>
                )}
              </span>
              {isOpen(user, "keys") && (
                <div class="opened">
                  <Keys user={user.name} title={t("keyOf", { user: user.name })} />
                </div>
              )}
              {isOpen(user, "caps") && (
                <div class="opened">
                  <UserCaps user={user.name} />
                </div>
              )}
            </li>
          ))}
        </ul>
        {people.more && (
          <Button onClick={people.more} busy={people.isBusy}>
            {t("showMore")}
          </Button>
        )}
      </section>
    </>
  );
}

function AddPerson({ onDone }: { onDone(): void }) {
  const [name, setName] = useDraft("people.name", "");
  const [role, setRole] = useDraft("people.role", "member");
  const [gets, setGets] = useDraft("people.gets", "link");
  const [made, setMade] = useState<{ label: string; value: string }>();
  const action = useAction();
  const add = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      const user = await post<User>("/v1/users", { name: name.trim(), role });
      setName("");
      onDone();
      if (gets === "link") {
        setMade({ label: t("personLink", { user: user.name }), value: await newLink(user.id) });
      } else {
        const key = await post<NewKey>(`/v1/users/${user.id}/keys`, {});
        setMade({ label: t("personKey", { user: user.name }), value: key.key ?? "" });
      }
    });
  };
  return (
    <section>
      <h2>{t("addOne")}</h2>
      <form class="row" onSubmit={add}>
        <Input label={t("personName")} value={name} onValue={setName} error={action.problem?.fields["name"]} />
        <Select
          label={t("role")}
          value={role}
          options={[
            ["member", t("role_member")],
            ["admin", t("role_admin")],
          ]}
          onValue={setRole}
        />
        <Select
          label={t("gets")}
          value={gets}
          options={[
            ["link", t("getsLink")],
            ["key", t("getsKey")],
          ]}
          onValue={setGets}
        />
        <Button type="submit" busy={action.isBusy} disabled={!name.trim()}>
          {t("addPerson")}
        </Button>
      </form>
      <Refusal problem={action.problem} shown={["name"]} />
      {made && <Secret {...made} />}
    </section>
  );
}
