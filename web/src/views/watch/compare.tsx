// Several trainings over each other, by step and by time.
import { useEffect, useMemo, useState } from "preact/hooks";
import uPlot from "uplot";
import { type Job, type JobEvent, type Metric, type Page, type Problem, everyItem, get } from "../../api/client";
import { follow } from "../../api/events";
import { loss, number, t } from "../../i18n";
import { type Axis, type CurvePoint, pointOf, positions, runsOf, trainingLosses, withPoint } from "../../parts/curve";
import { Choice, Refusal } from "../../parts/form";
import { Status, hasEnded } from "../../parts/job";
import { asProblem } from "../../parts/load";
import { Plot } from "../../parts/plot";
import { useDraft } from "../../store";
import { AxisChoice, showX } from "./curves";

/** As many as there are colours in style.css. */
export const MOST_RUNS = 8;
const MOST_POINTS = 1000;
const DASHES = [[], [6, 3], [2, 3]];

interface Run {
  job: Job;
  points: CurvePoint[];
  history: JobEvent[];
}

export function Compare({ ids }: { ids: string[] }) {
  const shown = ids.slice(0, MOST_RUNS);
  const [runs, setRuns] = useState<Record<string, Run>>({});
  const [problem, setProblem] = useState<Problem>();
  const [axis, setAxis] = useDraft<Axis>("watch.axis", "step");
  const [measure, setMeasure] = useDraft("watch.measure", "validation");

  useEffect(() => {
    document.title = `${t("compare")} · Quire`;
  });
  useEffect(() => {
    let isCurrent = true;
    const stops: (() => void)[] = [];
    const change = (id: string, part: (before: Run) => Partial<Run>) =>
      setRuns((before) => {
        const run = before[id];
        return run ? { ...before, [id]: { ...run, ...part(run) } } : before;
      });
    const start = async (id: string) => {
      const job = await get<Job>(`/v1/jobs/${id}`);
      const [page, history] = await Promise.all([
        get<Page<Metric>>(`/v1/jobs/${id}/metrics?points=${MOST_POINTS}`),
        everyItem<JobEvent>(`/v1/jobs/${id}/history`),
      ]);
      if (!isCurrent) return;
      const points = page.items.map(pointOf);
      setRuns((before) => ({ ...before, [id]: { job, points, history } }));
      if (hasEnded(job)) return;
      stops.push(
        follow(id, {
          state: (job) => change(id, () => ({ job })),
          metrics: ({ judged, ...progress }) => {
            const { step, loss = null, val_loss = null } = progress;
            const point = { step, loss, val_loss: judged ? val_loss : null, at: Date.now() };
            change(id, (before) => ({
              points: withPoint(before.points, point),
              job: { ...before.job, progress },
            }));
          },
        }),
      );
    };
    for (const id of shown) {
      start(id).catch((error: unknown) => isCurrent && setProblem(asProblem(error)));
    }
    return () => {
      isCurrent = false;
      stops.forEach((stop) => stop());
    };
  }, [ids.join()]);

  const found = shown.map((id) => runs[id]).filter((run) => run !== undefined);
  const data = useMemo(() => {
    const tables = found.map((run): uPlot.AlignedData => {
      const x = positions(run.points, axis, runsOf(run.history));
      const y = measure === "training" ? trainingLosses(run.points) : run.points.map((point) => point.val_loss);
      // Those alone that have a value: joined tables are as long as all of them together.
      const kept = [...x.keys()].filter((at) => y[at] !== null);
      return [kept.map((at) => x[at] ?? 0), kept.map((at) => y[at] ?? null)];
    });
    const some = tables.filter((table) => table[0].length);
    const joined = some.length ? uPlot.join(some) : [[]];
    let column = 0;
    return {
      x: [...(joined[0] ?? [])],
      lines: tables.map((table, index) => ({
        colour: `run-${shown.indexOf(found[index]!.job.id)}`,
        dash: DASHES[shown.indexOf(found[index]!.job.id) % DASHES.length]!,
        values: table[0].length ? [...(joined[(column += 1)] ?? [])] as (number | null)[] : [],
        hasDots: measure !== "training",
      })),
    };
  }, [runs, axis, measure]);

  return (
    <>
      <h1 tabIndex={-1}>{t("compareTitle")}</h1>
      <Refusal problem={problem} />
      <figure class="curves">
        <figcaption class="legend">
          <Choice
            label={t("measure")}
            name="measure"
            value={measure}
            options={[
              ["validation", t("validationLoss")],
              ["training", t("trainLoss")],
            ]}
            onValue={setMeasure}
          />
          <AxisChoice axis={axis} onAxis={setAxis} />
        </figcaption>
        {found.length > 0 && (
          <Plot
            x={data.x}
            lines={data.lines}
            axis={`${axis} ${measure} ${found.length}`}
            showX={showX(axis)}
            label={t("compareLabel", { n: found.length })}
            points={data.x.length}
          />
        )}
      </figure>
      <div class="scrolls" role="region" tabIndex={0} aria-label={t("compare")}>
        <table>
          <thead>
            <tr>
              {(["run", "status", "epochSlider", "trainLoss", "validationLoss", "bitsPerChar", "speed"] as const).map(
                (each) => (
                  <th key={each} scope="col">
                    {t(each)}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {found.map(({ job }) => (
              <tr key={job.id}>
                <th scope="row">
                  <span class={`line run-${shown.indexOf(job.id)} dash-${shown.indexOf(job.id) % DASHES.length}`} aria-hidden="true" />
                  <a href={`/watch/${job.id}`} data-view dir="auto">
                    {job.name}
                  </a>
                </th>
                <td>
                  <Status job={job} />
                </td>
                <td>{number(job.progress?.epoch ?? 0, 1)}</td>
                <td>{loss(job.progress?.loss)}</td>
                <td>{loss(job.progress?.val_loss)}</td>
                <td>{loss(job.progress?.bits_per_char)}</td>
                <td>{number(job.progress?.characters_per_second ?? 0)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
