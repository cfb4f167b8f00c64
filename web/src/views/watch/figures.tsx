// A training in figures.
import type { Job } from "../../api/client";
import { duration, loss, number, t } from "../../i18n";

export function Figures({ job }: { job: Job }) {
  const progress = job.progress;
  if (!progress) return null;
  const figures: [string, string, (string | undefined)?][] = [
    [
      t("epochSlider"),
      `${number(progress.epoch, 1)} / ${number(progress.epochs, 1)}`,
      job.status === "running" && progress.seconds_left !== null && progress.seconds_left !== undefined
        ? t("timeLeft", { time: duration(progress.seconds_left) })
        : undefined,
    ],
    [t("trainLoss"), loss(progress.loss)],
    [t("validationLoss"), loss(progress.val_loss)],
    [t("bitsPerChar"), loss(progress.bits_per_char)],
    [t("speed"), progress.characters_per_second ? number(progress.characters_per_second) : "–"],
  ];
  return (
    <>
      <dl class="figures">
        {figures.map(([name, value, note]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              {value}
              {note && <small>{note}</small>}
            </dd>
          </div>
        ))}
      </dl>
      <details>
        <summary>{t("bitsTitle")}</summary>
        <p class="soft">{t("bitsHint")}</p>
      </details>
    </>
  );
}
