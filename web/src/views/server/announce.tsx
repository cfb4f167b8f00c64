// An admin announces something to everyone, or ends the announcement.
import { useState } from "preact/hooks";
import { post, remove } from "../../api/client";
import { t } from "../../i18n";
import { announcements } from "../../parts/announced";
import { Button, Choice, Field, Refusal, Select } from "../../parts/form";
import { useAction } from "../../parts/load";

const HOUR_MILLISECONDS = 3_600_000;
const HOURS = [
  ["1", "anHour"],
  ["24", "aDay"],
  ["168", "aWeek"],
] as const;

export function Announce() {
  const [text, setText] = useState("");
  const [level, setLevel] = useState("info");
  const [hours, setHours] = useState("");
  const action = useAction();
  const told = () => announcements.set(announcements.get() + 1);
  const tell = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      const until = hours ? { ends_at: new Date(Date.now() + Number(hours) * HOUR_MILLISECONDS).toISOString() } : {};
      await post("/v1/announcement", { text, level, ...until });
      setText("");
      told();
    });
  };
  const end = () =>
    action.run(async () => {
      await remove("/v1/announcement");
      told();
    });
  return (
    <section>
      <h2>{t("announce")}</h2>
      <form onSubmit={tell}>
        <Field label={t("announceText")} hint={t("announceHint")} error={action.problem?.fields.text}>
          {(props) => (
            <textarea {...props} rows={2} value={text} onInput={(event) => setText(event.currentTarget.value)} />
          )}
        </Field>
        <Choice
          label={t("announceLevel")}
          name="announce-level"
          value={level}
          options={[
            ["info", t("level_info")],
            ["warning", t("level_warning")],
          ]}
          onValue={setLevel}
        />
        <Select
          label={t("announceHours")}
          value={hours}
          options={[["", t("untilEnded")], ...HOURS.map(([each, name]): [string, string] => [each, t(name)])]}
          onValue={setHours}
          error={action.problem?.fields.ends_at}
        />
        <Refusal problem={action.problem} shown={["text", "ends_at"]} />
        <p class="actions">
          <Button type="submit" busy={action.isBusy} disabled={!text.trim()}>
            {t("announce")}
          </Button>
          <Button onClick={end}>{t("announceEnd")}</Button>
        </p>
      </form>
    </section>
  );
}
