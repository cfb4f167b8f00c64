// The loss curves, drawn by uPlot in the page's colours.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { language, loss, number, t } from "../i18n";
import { useStore } from "../store";

export interface CurvePoint {
  step: number;
  loss: number | null;
  val_loss: number | null;
}

const HEIGHT = 260;

function colours(): Record<"train" | "validation" | "soft" | "rule", string> {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    train: read("train"),
    validation: read("validation"),
    soft: read("soft"),
    rule: read("rule"),
  };
}

// The loss of a point with a validation loss is the mean over its epoch, which lags behind: it
// counts only if there is no other point since the previous validation (quire/watch/curves.py).
function trainingLosses(points: CurvePoint[]): (number | null)[] {
  let followsValidation = true;
  return points.map((point) => {
    const counts = point.val_loss === null || followsValidation;
    followsValidation = point.val_loss !== null;
    return counts ? point.loss : null;
  });
}

export function Chart({ points }: { points: CurvePoint[] }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data = useRef<uPlot.AlignedData>([[], [], []]);
  const spoken = useStore(language);
  data.current = [
    points.map((point) => point.step),
    trainingLosses(points),
    points.map((point) => point.val_loss),
  ];

  useEffect(() => {
    const draw = () => {
      const place = box.current;
      if (!place) return;
      plot.current?.destroy();
      const colour = colours();
      const axis = {
        stroke: colour.soft,
        grid: { stroke: colour.rule, width: 1 },
        ticks: { show: false },
        font: "12px system-ui, sans-serif",
      };
      plot.current = new uPlot(
        {
          width: place.clientWidth || 320,
          height: HEIGHT,
          legend: { show: false },
          cursor: { show: false },
          scales: { x: { time: false } },
          axes: [{ ...axis, values: (_, at) => at.map((each) => number(each)) }, { ...axis, size: 44 }],
          series: [
            {},
            { stroke: colour.train, width: 1.6, points: { show: false }, spanGaps: true },
            { stroke: colour.validation, width: 1.6, spanGaps: true, points: { size: 5 } },
          ],
        },
        data.current,
        place,
      );
    };
    draw();
    const resized = new ResizeObserver(() => {
      if (box.current) plot.current?.setSize({ width: box.current.clientWidth, height: HEIGHT });
    });
    if (box.current) resized.observe(box.current);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
    };
  }, [spoken]);

  useEffect(() => plot.current?.setData(data.current), [points]);

  const last = points.at(-1);
  const validated = points.findLast((point) => point.val_loss !== null);
  const label = t("curveLabel", {
    points: number(points.length),
    loss: loss(last?.loss),
    valLoss: loss(validated?.val_loss),
  });
  return (
    <figure class="curves">
      <div ref={box} role="img" aria-label={label} data-points={points.length} />
      <figcaption class="legend">
        <span class="train">{t("trainLoss")}</span>
        <span class="validation">{t("validationLoss")}</span>
      </figcaption>
    </figure>
  );
}
