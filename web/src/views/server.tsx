import { useEffect } from "preact/hooks";
import { type Cap, type Device, type Page, type Queue, type Usage, get, session } from "../api/client";
import { clock, duration, number, size, t } from "../i18n";
import type { en } from "../i18n/en";
import { Refusal } from "../parts/form";
import { useLoaded } from "../parts/load";
import { Keys, People } from "./people";

const POLL_MILLISECONDS = 5000;

export function Server() {
  const devices = useLoaded(() => get<Page<Device>>("/v1/devices"), "", POLL_MILLISECONDS);
  const queue = useLoaded(() => get<Queue>("/v1/queue"), "", POLL_MILLISECONDS);
  const usage = useLoaded(() => get<Usage>("/v1/usage"), "", POLL_MILLISECONDS);
  const me = session.get()?.user;
  useEffect(() => {
    document.title = `${t("server")} · Quire`;
  });
  return (
    <>
      <h1 tabIndex={-1}>{t("serverTitle")}</h1>
      <Refusal problem={devices.problem ?? queue.problem ?? usage.problem} />
      <section>
        <h2>{t("devices")}</h2>
        {devices.value?.items.length === 0 && <p class="soft">{t("noDevices")}</p>}
        <ul class="list">
          {devices.value?.items.map((device) => (
            <li key={device.id}>
              <span>
                {device.gpu_name ?? device.device} · {device.host} ·{" "}
                {t(device.lane === "train" ? "lane_train" : "lane_generate")}
              </span>
              <span class="soft">
                {device.current_job ? (
                  <a href={`/watch/${device.current_job}`} data-view>
                    {t("busyOwn")}
                  </a>
                ) : (
                  t(stateOf(device))
                )}
              </span>
            </li>
          ))}
        </ul>
      </section>
      <section>
        <h2>{t("line")}</h2>
        {queue.value?.lanes.map((lane) => (
          <p key={lane.kind}>
            {t("lineOf", {
              kind: t(lane.kind === "train" ? "kind_train" : "kind_generate"),
              running: lane.running,
              queued: lane.queued,
              workers: lane.workers,
            })}
          </p>
        ))}
        {queue.value?.line.length === 0 ? (
          <p class="soft">{t("lineEmpty")}</p>
        ) : (
          <>
            <p class="soft">{t("lineRule")}</p>
            <ol class="list">
              {queue.value?.line.map((entry) => (
                <li key={`${entry.kind} ${entry.position}`}>
                  <span>
                    {entry.position} ·{" "}
                    {entry.job ? (
                      <a href={`/watch/${entry.job}`} data-view dir="auto">
                        {entry.name}
                      </a>
                    ) : (
                      (entry.user ?? t("someone"))
                    )}
                  </span>
                  <span class="soft">
                    {t(entry.kind === "train" ? "kind_train" : "kind_generate")}
                    {entry.mine && ` · ${t("yours")}`}
                    {entry.starts_at && ` · ${t("startsAbout", { time: clock(entry.starts_at) })}`}
                  </span>
                </li>
              ))}
            </ol>
          </>
        )}
      </section>
      {usage.value && <Share usage={usage.value} />}
      {me && <Keys user={me.name} title={t("keys")} />}
      {me?.role === "admin" && <People />}
    </>
  );
}

function stateOf(device: Device): keyof typeof en {
  if (!device.alive) return "dead";
  if (device.draining) return "draining";
  return device.ready ? "idle" : "starting";
}

function Share({ usage }: { usage: Usage }) {
  const caps: [keyof typeof en, Cap, (value: number) => string][] = [
    ["device_seconds_today", usage.device_seconds_today, duration],
    ["running", usage.running, number],
    ["queued", usage.queued, number],
    ["stored_bytes", usage.stored_bytes, size],
    ["corpora_bytes", usage.corpora_bytes, size],
    ["corpora", usage.corpora, number],
    ["modelsCount", usage.models, number],
    ["keysCount", usage.keys, number],
  ];
  return (
    <section>
      <h2>{t("usage")}</h2>
      <dl class="caps">
        <div>
          <dt>{t("share")}</dt>
          <dd>{number(usage.share_served * 100, 1)} %</dd>
        </div>
        {caps.map(([name, cap, show]) => (
          <div key={name}>
            <dt>{t(name)}</dt>
            <dd>
              {cap.cap === null
                ? t("unlimited", { used: show(cap.used) })
                : t("ofCap", { used: show(cap.used), cap: show(cap.cap) })}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
