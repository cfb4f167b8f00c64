// What comes after a beginning: one distribution, and what a temperature makes of it.
import { useState } from "preact/hooks";
import { type Job, type Problem, call, get } from "../../api/client";
import { number, t } from "../../i18n";
import { Button, Field, Refusal } from "../../parts/form";
import { hasEnded } from "../../parts/job";
import { useAction } from "../../parts/load";
import { Bars, percent } from "../../parts/passage";

/** As many as one request may ask for: the slider then asks nothing more. */
const TEMPERATURES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 2, 3];
const TOP = 12;
const WAIT_SECONDS = 20;

interface Distribution {
  temperature: number;
  entropy_bits: number;
  rest: number;
  tokens: { token: string; probability: number }[];
}

async function distributions(model: string, prompt: string): Promise<Distribution[]> {
  const body = { model, prompt, temperature: TEMPERATURES, top: TOP };
  let job = await call<Job>("POST", "/v1/next", body, { Prefer: `wait=${WAIT_SECONDS}` });
  while (!hasEnded(job)) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    job = await get<Job>(`/v1/jobs/${job.id}`);
  }
  return (job.texts?.[0]?.next ?? []) as Distribution[];
}

export function Next({ model, prompt, refused }: { model: string; prompt: string; refused?: Problem }) {
  const [found, setFound] = useState<{ prompt: string; list: Distribution[] }>();
  const [at, setAt] = useState(TEMPERATURES.indexOf(1));
  const action = useAction();
  const shown = found?.list[at];
  return (
    <details>
      <summary>{t("nextTitle")}</summary>
      <p class="soft">{t("nextHint")}</p>
      <p class="actions">
        <Button
          busy={action.isBusy}
          disabled={!model || !prompt}
          onClick={() =>
            action.run(async () => setFound({ prompt, list: await distributions(model, prompt) }))
          }
        >
          {t("nextShow")}
        </Button>
      </p>
      <Refusal problem={action.problem ?? refused} />
      {found && shown && (
        <div class="next">
          <p class="text" dir="auto" translate={false}>
            <span class="prompt">…{[...found.prompt].slice(-40).join("")}</span>
          </p>
          <Field label={t("temperatureOf", { value: shown.temperature })}>
            {(props) => (
              <input
                {...props}
                type="range"
                min={0}
                max={found.list.length - 1}
                value={at}
                aria-valuetext={t("temperatureOf", { value: shown.temperature })}
                onInput={(event) => setAt(event.currentTarget.valueAsNumber)}
              />
            )}
          </Field>
          <Bars label={t("likeliest")} bars={shown.tokens} />
          <p class="hint">
            {t("nextRest", { percent: percent(shown.rest), bits: number(shown.entropy_bits, 2) })}
          </p>
        </div>
      )}
    </details>
  );
}
