// The devices: what each does, what is wrong with it, and, for admins, how to stop or free it.
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
        {devices.value?.items.map((device) => (
          <li key={device.id}>
            <span>
              {device.gpu_name ?? device.device} · {device.host} ·{" "}
              {t(device.lane === "train" ? "lane_train" : "lane_generate")}
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
              {isAdmin && device.problem && (
                <Button onClick={() => ask("free", device)} aria-label={`${t("free")} ${device.id}`}>
                  {t("free")}
                </Button>
              )}
              {isAdmin && device.alive && !device.draining && (
                <SureButton label={t("drain")} name={device.id} onSure={() => ask("drain", device)} />
              )}
            </span>
          </li>
        ))}
      </ul>
      <Refusal problem={action.problem} />
    </section>
  );
}

function stateOf(device: Device): keyof typeof en {
  if (!device.alive) return "dead";
  if (device.draining) return "draining";
  if (device.problem) return device.quarantined ? "quarantined" : "broken";
  return device.ready ? "idle" : "starting";
}
