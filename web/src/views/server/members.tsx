// The members and teachers of a group, what they use, and how more are added.
import { useState } from "preact/hooks";
import { type Group, type Member, patch, post, remove, session } from "../../api/client";
import { duration, number, size, t } from "../../i18n";
import { Button, Input, Refusal, SureButton } from "../../parts/form";
import { useAction, useList } from "../../parts/load";
import { useDraft } from "../../store";
import { AddMany, newLink } from "./add-many";
import { Secret } from "./keys";

export function Members({ group, onChange }: { group: Group; onChange(): void }) {
  const path = `/v1/groups/${group.id}/members`;
  const members = useList<Member>(`${path}?limit=50`);
  const [link, setLink] = useState<{ user: string; link: string }>();
  const action = useAction();
  const me = session.get()?.user;
  const isAdmin = me?.role === "admin";
  const changed = () => {
    members.reload();
    onChange();
  };
  const act = (what: () => Promise<unknown>) => () =>
    action.run(async () => {
      await what();
      changed();
    });
  return (
    <>
      <h3>{t("members")}</h3>
      <Refusal problem={members.problem ?? action.problem} />
      {link && <Secret label={t("personLink", { user: link.user })} value={link.link} />}
      <ul class="list">
        {members.items.map((member) => (
          <li key={member.id}>
            <span dir="auto">
              {member.name}
              <small class="reason">
                {t("memberUse", {
                  running: number(member.use.running),
                  queued: number(member.use.queued),
                  time: duration(member.use.device_seconds_today),
                  stored: size(member.use.stored_bytes),
                })}
              </small>
            </span>
            <span class="soft buttons">
              {t(`role_${member.role}`)}
              {member.disabled_at && ` · ${t("disabled")}`}{" "}
              {isAdmin && (
                <Button
                  onClick={act(() =>
                    patch(`${path}/${member.id}`, { role: member.role === "teacher" ? "member" : "teacher" }),
                  )}
                  aria-label={`${t(member.role === "teacher" ? "makeMember" : "makeTeacher")} ${member.name}`}
                >
                  {t(member.role === "teacher" ? "makeMember" : "makeTeacher")}
                </Button>
              )}
              {member.id !== me?.id && (
                <>
                  <Button
                    onClick={act(async () => setLink({ user: member.name, link: await newLink(member.id) }))}
                    aria-label={t("linkFor", { user: member.name })}
                  >
                    {t("link")}
                  </Button>
                  <Button
                    onClick={act(() => patch(`/v1/users/${member.id}`, { disabled: !member.disabled_at }))}
                    aria-label={`${t(member.disabled_at ? "enable" : "disable")} ${member.name}`}
                  >
                    {t(member.disabled_at ? "enable" : "disable")}
                  </Button>
                  <SureButton
                    label={t("removeMember")}
                    name={member.name}
                    onSure={act(() => remove(`${path}/${member.id}`))}
                  />
                </>
              )}
            </span>
          </li>
        ))}
      </ul>
      {members.more && (
        <Button onClick={members.more} busy={members.isBusy}>
          {t("showMore")}
        </Button>
      )}
      {isAdmin && <AddMember path={path} onDone={changed} />}
      <AddMany
        draft={`group ${group.id}`}
        onDone={changed}
        make={async (name) => (await post<Member>(path, { user: name, create: true })).id}
      />
    </>
  );
}

/** An admin adds somebody who is a user already. */
function AddMember({ path, onDone }: { path: string; onDone(): void }) {
  const [name, setName] = useDraft("groups.member", "");
  const action = useAction();
  const add = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      await post(path, { user: name.trim() });
      setName("");
      onDone();
    });
  };
  return (
    <form class="row" onSubmit={add}>
      <Input label={t("addMember")} value={name} onValue={setName} error={action.problem?.fields["user"]} />
      <Button type="submit" busy={action.isBusy} disabled={!name.trim()}>
        {t("addPerson")}
      </Button>
      <Refusal problem={action.problem} shown={["user"]} />
    </form>
  );
}
