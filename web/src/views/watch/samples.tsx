// How it learned to write: the texts of an epoch at every temperature, or of a temperature through
// all epochs.
import { useState } from "preact/hooks";
import type { Text } from "../../api/client";
import { number, t } from "../../i18n";
import { Choice, Field } from "../../parts/form";
import { Passage } from "../../parts/passage";
import { TextActions } from "../../parts/text";

interface Props {
  texts: Text[];
  ended: boolean;
  isReadOnly?: boolean;
}

export function Samples({ texts, ended, isReadOnly = false }: Props) {
  const steps = [...new Set(texts.map((text) => text.step ?? 0))].sort((a, b) => a - b);
  const temperatures = [...new Set(texts.map((text) => text.temperature))].sort((a, b) => a - b);
  const [chosen, setChosen] = useState<number | null>(null);
  const [through, setThrough] = useState("");
  const at = chosen === null ? steps.length - 1 : Math.min(chosen, steps.length - 1);
  const isThrough = temperatures.some((each) => String(each) === through);
  const shown = isThrough
    ? texts
        .filter((text) => String(text.temperature) === through)
        .sort((a, b) => (a.step ?? 0) - (b.step ?? 0))
    : texts
        .filter((text) => (text.step ?? 0) === steps[at])
        .sort((a, b) => a.temperature - b.temperature);
  const epoch = number(shown[0]?.epoch ?? 0, 1);
  const title = (text: Text) =>
    isThrough
      ? t("atEpoch", { epoch: number(text.epoch ?? 0, 1) })
      : t("temperatureOf", { value: text.temperature });
  return (
    <section>
      <h2>{t("texts")}</h2>
      {!steps.length && !ended && <p class="soft">{t("noTexts")}</p>}
      {steps.length > 1 && (
        <Choice
          label={t("show")}
          name="through"
          value={isThrough ? through : ""}
          options={[
            ["", t("everyTemperature")],
            ...temperatures.map((each): [string, string] => [String(each), t("throughAt", { value: each })]),
          ]}
          onValue={setThrough}
        />
      )}
      {steps.length > 1 && !isThrough && (
        <Field label={`${t("epochSlider")}: ${t("atEpoch", { epoch })}`}>
          {(props) => (
            <input
              {...props}
              type="range"
              min={0}
              max={steps.length - 1}
              value={at}
              aria-valuetext={t("atEpoch", { epoch })}
              onInput={(event) => {
                const value = event.currentTarget.valueAsNumber;
                setChosen(value === steps.length - 1 ? null : value);
              }}
            />
          )}
        </Field>
      )}
      <div class={isThrough ? "" : "columns"}>
        {shown.map((text) => (
          <article key={text.id} aria-label={title(text)}>
            <h3>{title(text)}</h3>
            <Passage written={text} />
            <TextActions written={text} name={`quire-${text.id}`} isReadOnly={isReadOnly} />
          </article>
        ))}
      </div>
    </section>
  );
}
