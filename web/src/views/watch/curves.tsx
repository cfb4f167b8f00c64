// The curves of one training, with what happened on the way.
import { useMemo } from "preact/hooks";
import type { JobEvent } from "../../api/client";
import { duration, loss, number, t } from "../../i18n";
import {
  type Axis,
  type CurvePoint,
  happenings,
  marksOf,
  positions,
  runsOf,
  signOf,
  trainingLosses,
} from "../../parts/curve";
import { Choice } from "../../parts/form";
import { Plot } from "../../parts/plot";
import { useDraft } from "../../store";

/** More happenings than these are folded away. */
const SHOWN_HAPPENINGS = 4;

export const showX = (axis: Axis) => (value: number) => (axis === "step" ? number(value) : duration(value));

export function AxisChoice({ axis, onAxis }: { axis: Axis; onAxis(axis: Axis): void }) {
  return (
    <Choice
      label={t("axis")}
      name="axis"
      value={axis}
      options={[
        ["step", t("byStep")],
        ["time", t("byTime")],
      ]}
      onValue={(value) => onAxis(value as Axis)}
    />
  );
}

export function Curves({ points, history }: { points: CurvePoint[]; history: JobEvent[] }) {
  const [axis, setAxis] = useDraft<Axis>("watch.axis", "step");
  const runs = useMemo(() => runsOf(history), [history]);
  const found = useMemo(() => happenings(history, points), [history, points.length]);
  const x = useMemo(() => positions(points, axis, runs), [points, axis, runs]);
  const marks = useMemo(() => marksOf(found, axis, runs), [found, axis, runs]);
  const lines = useMemo(
    () => [
      { colour: "train", values: trainingLosses(points) },
      { colour: "validation", values: points.map((point) => point.val_loss), hasDots: true },
    ],
    [points],
  );
  const last = points.at(-1);
  const validated = points.findLast((point) => point.val_loss !== null);
  const label = t("curveLabel", {
    points: number(points.length),
    loss: loss(last?.loss),
    valLoss: loss(validated?.val_loss),
  });
  const list = (
    <ul class="marks">
      {found.map((each) => (
        <li key={`${each.kind} ${each.at}`} class={each.kind}>
          <span aria-hidden="true">{signOf(each)}</span> {each.words}
        </li>
      ))}
    </ul>
  );
  return (
    <figure class="curves">
      <Plot x={x} lines={lines} marks={marks} axis={axis} showX={showX(axis)} label={label} points={points.length} />
      <figcaption class="legend">
        <span class="line train">{t("trainLoss")}</span>
        <span class="line validation">{t("validationLoss")}</span>
        <AxisChoice axis={axis} onAxis={setAxis} />
      </figcaption>
      {found.length > SHOWN_HAPPENINGS ? (
        <details>
          <summary>{t("happened", { n: found.length })}</summary>
          {list}
        </details>
      ) : (
        found.length > 0 && list
      )}
    </figure>
  );
}
