import { useEffect, useState } from "preact/hooks";
import { comebacks, findSession, session, signIn, signedOutBecause } from "../api/client";
import { t } from "../i18n";
import { useAction } from "../parts/load";
import { Button, Input } from "../parts/form";
import { go, place } from "../router";
import { useStore } from "../store";

export function SignIn() {
  // The key lives in this field alone, until it has become a session.
  const [key, setKey] = useState("");
  const [isLink, setLink] = useState(false);
  const action = useAction();
  const because = useStore(signedOutBecause);
  const comeback = useStore(comebacks);

  const arrive = () => place.get().view === "sign-in" && go("/", true);

  useEffect(() => {
    const token = location.hash.slice(1);
    if (place.get().view !== "sign-in" || !token) return;
    // Out of the address bar and the history before anything else.
    history.replaceState(null, "", "/sign-in");
    setLink(true);
    action.run(async () => {
      try {
        await signIn({ link: token });
        arrive();
      } finally {
        setLink(false);
      }
    });
  }, []);

  useEffect(() => {
    if (comeback) void findSession().catch(() => undefined);
  }, [comeback]);

  useEffect(() => {
    document.title = `${t("signIn")} · Quire`;
  });

  const submit = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      await signIn({ key: key.trim() });
      setKey("");
      arrive();
    });
  };

  if (isLink) return <p role="status">{t("linkSigning")}</p>;
  const refused = action.problem?.status ? action.problem.message : undefined;
  return (
    <section class="sign-in">
      <h1 tabIndex={-1}>{t("signIn")}</h1>
      <p class="lede">{t("signInLead")}</p>
      {because && !refused && session.get() === null && (
        <p class="error" role="alert">
          {because}
        </p>
      )}
      <form onSubmit={submit}>
        <Input label={t("key")} hint={t("keyHint")} value={key} onValue={setKey} error={refused} secret />
        <Button kind="main" type="submit" busy={action.isBusy} disabled={!key.trim()}>
          {t("signIn")}
        </Button>
      </form>
    </section>
  );
}
