// The devices: what each does, what is wrong with it, and buttons that drain or free it.
import { type Device, type Page, get, post } from "../../api/client";
import { clock, t } from "../../i18n";
import type { en } from "../../i18n/en";
import { Button, Refusal, SureButton } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";

const POLL_MILLISECONDS = 5000;

export function Devices({ isAdmin }: { isAdmin: boolean }) {
  const devices = useLoaded(() => get<Page<Device>>("/v1/devices?limit=200"), "", POLL_MILLISECONDS);
  const action = useAction();
  const ask = (what: "drain" | "free", { host, device }: Device) =>
    action.run(async () => {
      await post(`/v1/devices/${what}`, { host, device });
      devices.reload();
    });
  return (
    <section>
      <h2>{t("devices")}</h2>
      <Refusal problem={devices.problem} />
      {devices.value?.items.length === 0 && <p class="soft">{t("noDevices")}</p>}
      <ul class="list">
        {devices.value?.items.map((device, index, all) => (
          <li key={device.id}>
            <span>
              {device.gpu_name ?? device.device} · {device.host} ·{" "}
              {t(device.lane === "train" ? "lane_train" : "lane_generate")}
              {device.slots > 1 && ` · ${t("slotOf", { slot: device.slot, slots: device.slots })}`}
              {device.problem && (
                <small class="reason" dir="auto">
                  {device.problem}
                  {device.retry_at && ` · ${t("probedAt", { time: clock(device.retry_at) })}`}
                </small>
              )}
            </span>
            <span class="soft buttons">
              <span>
                {device.current_job ? (
                  <a href={`/watch/${device.current_job}`} data-view>
                    {t("busyOwn")}
                  </a>
                ) : (
                  t(stateOf(device))
                )}
              </span>
              {isAdmin && device.problem && isFirstLane(index, all) && (
                <Button onClick={() => ask("free", device)} aria-label={`${t("free")} ${nameOf(device)}`}>
                  {t("free")}
                </Button>
              )}
              {isAdmin && device.alive && !device.draining && isFirstLane(index, all) && (
                <SureButton label={t("drain")} name={nameOf(device)} onSure={() => ask("drain", device)} />
              )}
            </span>
          </li>
        ))}
      </ul>
      <Refusal problem={action.problem} />
    </section>
  );
}

const nameOf = ({ host, device }: Device) => `${host}/${device}`;

/** A device has a row for each of its lanes, and is drained or freed as a whole. */
function isFirstLane(index: number, all: Device[]): boolean {
  const own = all[index];
  return own !== undefined && all.findIndex((each) => nameOf(each) === nameOf(own)) === index;
}

function stateOf(device: Device): keyof typeof en {
  if (!device.alive) return "dead";
  if (device.draining) return "draining";
  if (device.problem) return device.quarantined ? "quarantined" : "broken";
  return device.ready ? "idle" : "starting";
}
