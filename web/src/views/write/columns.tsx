// The texts of one generation, side by side, each as it is written.
import { useState } from "preact/hooks";
import type { Job, Text } from "../../api/client";
import { number, t } from "../../i18n";
import { Button } from "../../parts/form";
import { hasEnded } from "../../parts/job";
import { Passage } from "../../parts/passage";
import { ItemMarks, TextActions, download } from "../../parts/text";
import type { Draft } from "../../parts/writing";

type Temperature = number | { from: number; to: number };

/** More texts than these are a list. */
const MOST_COLUMNS = 16;
const LISTED = 200;

interface Props {
  job: Job;
  drafts: Draft[];
  texts: Text[];
  onGoOn?: (beginning: string) => void;
  isReadOnly?: boolean;
}

export function Columns({ job, drafts, texts, onGoOn, isReadOnly = false }: Props) {
  const temperatures = (job.spec["temperatures"] ?? []) as Temperature[];
  const perTemperature = (job.spec["n"] as number | undefined) ?? 1;
  const count = temperatures.length * perTemperature;
  if (count > MOST_COLUMNS) return <Many job={job} texts={texts} count={count} />;
  return (
    <div class="columns" aria-busy={!hasEnded(job)}>
      {Array.from({ length: count }, (_, index) => {
        const text = texts.find((each) => each.index === index);
        const temperature = temperatures[Math.floor(index / perTemperature)] ?? 0;
        const value =
          typeof temperature === "number" ? temperature : `${temperature.from}–${temperature.to}`;
        const written = text ?? drafts[index];
        return (
          <article key={index} aria-label={t("temperatureOf", { value })}>
            <h3>{t("temperatureOf", { value })}</h3>
            {written ? <Passage written={written} onGoOn={text && onGoOn} /> : null}
            {text ? (
              <TextActions written={text} name={`quire-${text.id}`} isReadOnly={isReadOnly} />
            ) : (
              !hasEnded(job) && <p class="soft">{t("writing")}</p>
            )}
          </article>
        );
      })}
    </div>
  );
}

/** Many texts, such as the items of a list: one after the other. */
function Many({ job, texts, count }: { job: Job; texts: Text[]; count: number }) {
  const [shown, setShown] = useState(LISTED);
  const sorted = [...texts].sort((a, b) => a.index - b.index);
  const found = sorted.filter((text) => text.finish_reason !== "exhausted");
  const save = () => download(`quire-${job.id}.txt`, found.map((text) => `${text.prompt}${text.text}\n`).join(""));
  const thrownAway = texts.reduce((sum, text) => sum + (text.discarded ?? 0), 0);
  const exhausted = sorted.length - found.length;
  return (
    <div aria-busy={!hasEnded(job)}>
      <p class="actions">
        <span class="soft" role="status">
          {t("writtenOf", { n: number(texts.length), of: number(count) })}
          {thrownAway > 0 && ` · ${t("discarded", { n: number(thrownAway) })}`}
          {exhausted > 0 && ` · ${t("exhaustedOf", { n: number(exhausted) })}`}
        </span>
        {texts.length > 0 && <Button onClick={save}>{t("download")}</Button>}
      </p>
      <ol class="list">
        {sorted.slice(0, shown).map((text) => (
          <li key={text.id}>
            <span class="text" dir="auto" translate={false}>
              <span class="prompt">{text.prompt}</span>
              {text.text}
            </span>
            <span class="soft">
              {text.temperature} <ItemMarks text={text} />
            </span>
          </li>
        ))}
      </ol>
      {sorted.length > shown && <Button onClick={() => setShown(shown + LISTED)}>{t("showMore")}</Button>}
    </div>
  );
}
