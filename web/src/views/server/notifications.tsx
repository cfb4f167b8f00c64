// Who is told of one's trainings: webhooks and mails, a test of each, and the secret that signs.
import { useState } from "preact/hooks";
import { type Delivery, type NewSecret, type Notification, get, post, remove } from "../../api/client";
import { moment, t } from "../../i18n";
import { Button, Check, Input, Refusal, SureButton } from "../../parts/form";
import { useAction, useList } from "../../parts/load";
import { useDraft } from "../../store";
import { Secret } from "./keys";

const TEST_MILLISECONDS = 1000;
/** After so many looks a test that still waits is left to itself. */
const MOST_LOOKS = 20;
const SHOWN = ["url", "mail"];

/** An address with a scheme is a webhook's; the API judges both. */
const targetOf = (address: string) =>
  address.includes("://") || !address.includes("@") ? { url: address } : { mail: address };

export function Notifications() {
  const told = useList<Notification>("/v1/notifications?limit=50");
  const [secret, setSecret] = useState("");
  const action = useAction();
  const stop = (each: Notification) =>
    action.run(async () => {
      await remove(`/v1/notifications/${each.id}`);
      told.reload();
    });
  const renew = () =>
    action.run(async () => setSecret((await post<NewSecret>("/v1/webhooks/secret")).secret ?? ""));
  return (
    <section>
      <h2>{t("told")}</h2>
      <p class="soft">{t("toldHint")}</p>
      <Refusal problem={told.problem ?? action.problem} />
      <ul class="list">
        {told.items.map((each) => (
          <li key={each.id}>
            <span>
              {each.target}
              <small class="reason">
                {each.job ? (
                  <a href={`/watch/${each.job}`} data-view>
                    {t("toldOfOne")}
                  </a>
                ) : (
                  t("toldOfAll")
                )}
                {each.checkpoints && ` · ${t("toldCheckpoints")}`}
              </small>
            </span>
            <span class="soft buttons">
              <Try target={each} />
              <SureButton label={t("delete")} name={each.target} onSure={() => stop(each)} />
            </span>
          </li>
        ))}
      </ul>
      {told.more && (
        <Button onClick={told.more} busy={told.isBusy}>
          {t("showMore")}
        </Button>
      )}
      <Add onDone={told.reload} />
      <p class="actions">
        <SureButton label={t("newSecret")} name="" onSure={renew} />
        <span class="hint">{t("newSecretHint")}</span>
      </p>
      {secret && <Secret label={t("newSecretShown")} value={secret} />}
    </section>
  );
}

function Add({ onDone }: { onDone(): void }) {
  const [address, setAddress] = useDraft("told.address", "");
  const [checkpoints, setCheckpoints] = useDraft("told.checkpoints", false);
  const action = useAction();
  const refused = action.problem?.fields ?? {};
  const add = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      await post("/v1/notifications", { ...targetOf(address.trim()), checkpoints });
      setAddress("");
      onDone();
    });
  };
  return (
    <form onSubmit={add}>
      <Input
        label={t("toldAddress")}
        hint={t("toldAddressHint")}
        value={address}
        onValue={setAddress}
        error={refused["url"] ?? refused["mail"]}
      />
      <Check label={t("toldCheckpoints")} checked={checkpoints} onChecked={setCheckpoints} />
      <Refusal problem={action.problem} shown={SHOWN} />
      <p class="actions">
        <Button type="submit" busy={action.isBusy} disabled={!address.trim()}>
          {t("tellIt")}
        </Button>
      </p>
    </form>
  );
}

/** Sends a message that tells nothing, and says what came of it. */
function Try({ target }: { target: Notification }) {
  const [sent, setSent] = useState<Delivery>();
  const action = useAction();
  const send = () =>
    action.run(async () => {
      const where = target.kind === "mail" ? { mail: target.target } : { url: target.target };
      let delivery = await post<Delivery>("/v1/notifications/test", where);
      setSent(delivery);
      // The first try tells: a failed one is tried again for three days.
      for (let looks = 0; !delivery.tries.length && delivery.status === "pending" && looks < MOST_LOOKS; looks += 1) {
        await new Promise((resolve) => setTimeout(resolve, TEST_MILLISECONDS));
        delivery = await get<Delivery>(`/v1/deliveries/${delivery.id}`);
        setSent(delivery);
      }
    });
  return (
    <>
      <span role="status">{sent && <Outcome delivery={sent} />}</span>
      <Refusal problem={action.problem} />
      <Button onClick={send} busy={action.isBusy} aria-label={`${t("tryIt")} ${target.target}`}>
        {t("tryIt")}
      </Button>
    </>
  );
}

/** What became of a message, with the last error in the courier's words. */
export function Outcome({ delivery }: { delivery: Delivery }) {
  const last = delivery.tries.at(-1);
  const error = last?.error ?? "";
  return (
    <span class={error ? "error" : ""}>
      {t(`delivery_${delivery.status}`)}
      {error && `: ${error}`}
      {delivery.next_try_at && last && ` · ${t("nextTry", { time: moment(delivery.next_try_at) })}`}
    </span>
  );
}
