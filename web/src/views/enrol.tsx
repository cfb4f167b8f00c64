// A one-time link of somebody new: it makes their key, shows it once, and signs this browser in.
import { useEffect, useState } from "preact/hooks";
import { type Enrolled, post, session, signIn } from "../api/client";
import { t } from "../i18n";
import { Button, Input, Refusal } from "../parts/form";
import { asProblem, useAction } from "../parts/load";
import { forgetDrafts, useStore } from "../store";
import { Secret } from "./server/keys";

const NAME = "name";

export function Enrol() {
  // The token and the key live in this view alone; what is reloaded has neither.
  const [token, setToken] = useState("");
  const [name, setName] = useState(t("enrolBrowser"));
  const [made, setMade] = useState<Enrolled>();
  const [notSignedIn, setNotSignedIn] = useState("");
  const action = useAction();
  const who = useStore(session);

  useEffect(() => {
    const take = () => {
      if (!location.hash) return;
      setToken(location.hash.slice(1));
      setMade(undefined);
      action.clear();
      // Out of the address bar and the history before anything is sent.
      history.replaceState(null, "", "/enrol");
    };
    take();
    // Another link may be opened in the same tab.
    addEventListener("hashchange", take);
    return () => removeEventListener("hashchange", take);
  }, []);

  useEffect(() => {
    document.title = `${t("enrolTitle")} · Quire`;
  });

  // A program that looks at links, such as a chat's or a mail filter's, presses no button.
  const redeem = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      const found = await post<Enrolled>("/v1/enrol", { token, name: name.trim() });
      setMade(found);
      setToken("");
      // What somebody else typed in this tab is not for its new user.
      forgetDrafts();
      // The key is made and shown, whatever becomes of the session.
      await signIn({ key: found.key ?? "" }).catch((error: unknown) => setNotSignedIn(asProblem(error).message));
    });
  };

  if (made) {
    return (
      <section class="sign-in">
        <h1 tabIndex={-1}>{t("enrolDone", { user: made.user })}</h1>
        <Secret label={t("enrolKey")} value={made.key ?? ""} />
        <p class="hint">{t("enrolKeyHint")}</p>
        {notSignedIn && (
          <p class="error" role="alert">
            {notSignedIn}
          </p>
        )}
        <p class="actions">
          <a class="button" href="/" data-view>
            {t(who ? "enrolGoOn" : "signIn")}
          </a>
        </p>
      </section>
    );
  }
  return (
    <section class="sign-in">
      <h1 tabIndex={-1}>{t("enrolTitle")}</h1>
      <p class="lede">{t("signInLead")}</p>
      {token ? (
        <form onSubmit={redeem}>
          <p>{t("enrolHint")}</p>
          {who && <p>{t("enrolInstead", { user: who.user.name })}</p>}
          <Input
            label={t("enrolName")}
            hint={t("enrolNameHint")}
            value={name}
            onValue={setName}
            error={action.problem?.fields[NAME]}
          />
          <Refusal problem={action.problem} shown={[NAME]} />
          <Button kind="main" type="submit" busy={action.isBusy} disabled={!name.trim()}>
            {t("enrolMake")}
          </Button>
        </form>
      ) : (
        <p class="error" role="alert">
          {t("enrolNoToken")}
        </p>
      )}
    </section>
  );
}
