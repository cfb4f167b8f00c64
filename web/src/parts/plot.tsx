// Lines over one axis, drawn by uPlot in the page's colours, with marks on them.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { language } from "../i18n";
import { useStore } from "../store";

export interface Line {
  /** The name of a colour in style.css, without its dashes. */
  colour: string;
  values: (number | null)[];
  hasDots?: boolean;
  isThin?: boolean;
  dash?: number[];
}

export interface Mark {
  x: number;
  sign: string;
  colour: string;
}

interface Props {
  x: number[];
  lines: Line[];
  marks?: Mark[];
  showX(value: number): string;
  /** What the axis is, so that another one is drawn anew. */
  axis: string;
  label: string;
  points: number;
}

const HEIGHT = 260;
const FONT = "12px system-ui, sans-serif";

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function Plot({ x, lines, marks = [], showX, axis, label, points }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shown = useRef({ data: [] as unknown as uPlot.AlignedData, marks });
  const spoken = useStore(language);
  shown.current = { data: [x, ...lines.map((line) => line.values)], marks };

  useEffect(() => {
    const draw = () => {
      const place = box.current;
      if (!place) return;
      plot.current?.destroy();
      const shared = {
        stroke: colour("soft"),
        grid: { stroke: colour("rule"), width: 1 },
        ticks: { show: false },
        font: FONT,
      };
      plot.current = new uPlot(
        {
          width: place.clientWidth || 320,
          height: HEIGHT,
          padding: [18, null, null, null],
          legend: { show: false },
          cursor: { show: false },
          scales: { x: { time: false } },
          axes: [{ ...shared, values: (_, at) => at.map(showX) }, { ...shared, size: 44 }],
          series: [
            {},
            ...lines.map((line) => ({
              stroke: colour(line.colour),
              width: line.isThin ? 1 : 1.6,
              spanGaps: true,
              points: line.hasDots ? { size: 5 } : { show: false },
              ...(line.dash ? { dash: line.dash } : {}),
            })),
          ],
          hooks: { draw: [(drawn) => drawMarks(drawn, shown.current.marks)] },
        },
        shown.current.data,
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
  }, [spoken, axis, lines.length]);

  useEffect(() => plot.current?.setData(shown.current.data), [x, lines, marks]);

  return <div ref={box} role="img" aria-label={label} data-points={points} data-marks={marks.length} />;
}

function drawMarks(plot: uPlot, marks: Mark[]): void {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio || 1;
  ctx.save();
  ctx.font = `${12 * scale}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.lineWidth = scale;
  ctx.setLineDash([3 * scale, 3 * scale]);
  for (const mark of marks) {
    const at = plot.valToPos(mark.x, "x", true);
    if (at < bbox.left || at > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(mark.colour);
    ctx.beginPath();
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(mark.sign, at, bbox.top - 5 * scale);
  }
  ctx.restore();
}
