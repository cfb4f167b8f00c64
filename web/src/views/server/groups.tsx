// Groups: of everybody those they are in; their teachers and the admins manage them here.
import { useState } from "preact/hooks";
import { type Group, patch, post, remove, session } from "../../api/client";
import { moment, number, t } from "../../i18n";
import { Button, Input, Refusal, SureButton } from "../../parts/form";
import { useAction, useList } from "../../parts/load";
import { useDraft } from "../../store";
import { type CapField, CapsForm } from "./caps";
import { Members } from "./members";

export function Groups() {
  const groups = useList<Group>("/v1/groups?limit=50");
  const [opened, setOpened] = useState("");
  const isAdmin = session.get()?.user.role === "admin";
  return (
    <>
      {isAdmin && <AddGroup onDone={groups.reload} />}
      <section>
        <h2>{t("groups")}</h2>
        <Refusal problem={groups.problem} />
        {groups.isLoaded && !groups.items.length && <p class="soft">{t("noGroups")}</p>}
        <ul class="list">
          {groups.items.map((group) => {
            const manages = isAdmin || (group.role === "teacher" && !group.ended);
            return (
              <li key={group.id}>
                <span dir="auto">{group.name}</span>
                <span class="soft buttons">
                  {[
                    group.role && t(`role_${group.role}`),
                    t("membersOf", { n: number(group.members) }),
                    group.ended ? t("ended") : group.ends_at && t("endsAt", { time: moment(group.ends_at) }),
                  ]
                    .filter(Boolean)
                    .join(" · ")}{" "}
                  {manages && (
                    <Button
                      onClick={() => setOpened(opened === group.id ? "" : group.id)}
                      aria-expanded={opened === group.id}
                      aria-label={t("manageGroup", { group: group.name })}
                    >
                      {t("manage")}
                    </Button>
                  )}
                </span>
                {manages && opened === group.id && (
                  <div class="opened">
                    <Members group={group} onChange={groups.reload} />
                    <GroupCaps group={group} isAdmin={isAdmin} onChange={groups.reload} />
                  </div>
                )}
              </li>
            );
          })}
        </ul>
        {groups.more && (
          <Button onClick={groups.more} busy={groups.isBusy}>
            {t("showMore")}
          </Button>
        )}
      </section>
    </>
  );
}

function AddGroup({ onDone }: { onDone(): void }) {
  const [name, setName] = useDraft("groups.name", "");
  const action = useAction();
  const add = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      await post("/v1/groups", { name: name.trim() });
      setName("");
      onDone();
    });
  };
  return (
    <section>
      <h2>{t("addGroup")}</h2>
      <form class="row" onSubmit={add}>
        <Input label={t("groupName")} hint={t("groupHint")} value={name} onValue={setName} error={action.problem?.fields["name"]} />
        <Button type="submit" busy={action.isBusy} disabled={!name.trim()}>
          {t("addPerson")}
        </Button>
      </form>
      <Refusal problem={action.problem} shown={["name"]} />
    </section>
  );
}

function GroupCaps({ group, isAdmin, onChange }: { group: Group; isAdmin: boolean; onChange(): void }) {
  const action = useAction();
  const path = `/v1/groups/${group.id}`;
  const save = async (changed: Record<string, unknown>) => {
    await patch(path, changed);
    onChange();
  };
  const all = (name: keyof Group, label: CapField["label"]): CapField => ({
    name,
    label,
    value: group[name] as number | null,
    placeholder: t("noCap"),
  });
  const each = (name: keyof Group, label: CapField["label"]): CapField => ({
    ...all(name, label),
    placeholder: t("serversDefault"),
  });
  const end = (days: number | null) =>
    action.run(() =>
      save({ ends_at: days === null ? null : new Date(Date.now() + days * 86_400_000).toISOString() }),
    );
  return (
    <>
      <h3>{t("capsOfEach")}</h3>
      <CapsForm
        fields={[
          each("member_max_running", "running"),
          each("member_max_queued", "queued"),
          each("member_max_device_seconds_per_day", "deviceSecondsADay"),
          each("member_max_stored_bytes", "storedBytes"),
          each("member_max_corpora_bytes", "corporaBytes"),
        ]}
        onSave={save}
      />
      {isAdmin && (
        <>
          <h3>{t("capsOfAll")}</h3>
          <CapsForm
            fields={[
              all("max_running", "running"),
              all("max_queued", "queued"),
              all("max_device_seconds_per_day", "deviceSecondsADay"),
              all("max_stored_bytes", "storedBytes"),
            ]}
            onSave={save}
          />
          <Refusal problem={action.problem} />
          <p class="actions buttons">
            <Button onClick={() => end(180)}>{t("endInHalfAYear")}</Button>
            <Button onClick={() => end(null)} disabled={group.ends_at === null}>
              {t("endNever")}
            </Button>
            <SureButton
              label={t("deleteGroup")}
              name={group.name}
              onSure={() =>
                action.run(async () => {
                  await remove(path);
                  onChange();
                })
              }
            />
          </p>
        </>
      )}
    </>
  );
}
