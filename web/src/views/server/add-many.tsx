// Many people from a list of names, each with a one-time link.
import { useState } from "preact/hooks";
import { type NewEnrolment, Problem, post } from "../../api/client";
import { t } from "../../i18n";
import { Button, Field } from "../../parts/form";
import { asProblem } from "../../parts/load";
import { download } from "../../parts/text";
import { useDraft } from "../../store";

interface Row {
  name: string;
  link: string;
  refusal: string;
}

const MOST_WAITS = 5;

export async function newLink(user: string): Promise<string> {
  const made = await post<NewEnrolment>(`/v1/users/${encodeURIComponent(user)}/enrolments`, {});
  return made.link ?? "";
}

/** What the API puts off it gets again when it said; what it refuses is thrown. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (let waits = 0; ; waits += 1) {
    try {
      return await ask();
    } catch (error) {
      const isPutOff = error instanceof Problem && error.retrySeconds > 0 && [429, 503].includes(error.status);
      if (!isPutOff || waits === MOST_WAITS) throw error;
      await new Promise((resolve) => setTimeout(resolve, error.retrySeconds * 1000));
    }
  }
}

interface Props {
  draft: string;
  /** Makes a user of this name and returns the id. */
  make(name: string): Promise<string>;
  onDone(): void;
}

export function AddMany({ draft, make, onDone }: Props) {
  const [typed, setTyped] = useDraft(`${draft}.names`, "");
  const [rows, setRows] = useState<Row[]>([]);
  const [isBusy, setBusy] = useState(false);
  const names = [...new Set(typed.split("\n").map((line) => line.trim()).filter(Boolean))];

  const add = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const done: Row[] = [];
    for (const name of names) {
      const row: Row = { name, link: "", refusal: "" };
      try {
        const user = await patiently(() => make(name));
        row.link = await patiently(() => newLink(user));
      } catch (error) {
        row.refusal = asProblem(error).message || t("away");
      }
      done.push(row);
      setRows([...done]);
    }
    // What was refused stays to be mended.
    setTyped(done.filter((row) => !row.link).map((row) => row.name).join("\n"));
    setBusy(false);
    onDone();
  };
  const links = rows.filter((row) => row.link);
  return (
    <section>
      <h2>{t("addMany")}</h2>
      <form onSubmit={(event) => void add(event)}>
        <Field label={t("names")} hint={t("namesHint")}>
          {(props) => (
            <textarea
              {...props}
              class="plain"
              rows={4}
              value={typed}
              disabled={isBusy}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          )}
        </Field>
        <p class="actions">
          <Button type="submit" busy={isBusy} disabled={!names.length}>
            {t("makeMany", { n: names.length })}
          </Button>
          {links.length > 0 && !isBusy && (
            <Button
              onClick={() =>
                download("quire-links.tsv", links.map((row) => `${row.name}\t${row.link}\n`).join(""))
              }
            >
              {t("downloadLinks")}
            </Button>
          )}
        </p>
      </form>
      <p class="soft" role="status">
        {rows.length > 0 && t("madeMany", { n: links.length, of: rows.length })}
      </p>
      {rows.length > 0 && (
        <ul class="list">
          {rows.map((row) => (
            <li key={row.name}>
              <span dir="auto">{row.name}</span>
              {row.link ? <code class="link">{row.link}</code> : <span class="error">{row.refusal}</span>}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
