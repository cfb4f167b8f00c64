// The texts of one generation, side by side, each as it is written.
import type { Job, Text } from "../api/client";
import { t } from "../i18n";
import { Passage, TextActions } from "../parts/text";
import { hasEnded } from "../parts/job";
import type { Draft } from "../parts/writing";

type Temperature = number | { from: number; to: number };

export function Columns({ job, drafts, texts }: { job: Job; drafts: Draft[]; texts: Text[] }) {
  const temperatures = (job.spec["temperatures"] ?? []) as Temperature[];
  const perTemperature = (job.spec["n"] as number | undefined) ?? 1;
  const count = temperatures.length * perTemperature;
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
            {written ? <Passage written={written} /> : null}
            {text ? (
              <TextActions written={text} name={`quire-${text.id}`} />
            ) : (
              !hasEnded(job) && <p class="soft">{t("writing")}</p>
            )}
          </article>
        );
      })}
    </div>
  );
}
