import { type ComponentChild, render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { findSession, isAway, session, signOut } from "./api/client";
import { language, languages, speak, t } from "./i18n";
import { Announcement } from "./parts/announced";
import { place } from "./router";
import { forgetDrafts, useStore } from "./store";
import "./style.css";
import { Enrol } from "./views/enrol";
import { Home } from "./views/home";
import { Compare } from "./views/watch/compare";
import { Library } from "./views/library/library";
import { SharedView } from "./views/shared";
import { JobView } from "./views/watch/job";
import { Server } from "./views/server/server";
import { SignIn } from "./views/sign-in";
import { Teach } from "./views/teach/teach";
import { Watch } from "./views/watch/jobs";
import { Write } from "./views/write/write";

const VIEWS: Record<string, (id: string) => ComponentChild> = {
  "": () => <Home />,
  "sign-in": () => <Home />,
  library: () => <Library />,
  teach: () => <Teach />,
  watch: (id) => {
    const jobs = id.split(",").filter(Boolean);
    if (jobs.length > 1) return <Compare key={id} ids={jobs} />;
    return id ? <JobView key={id} id={id} /> : <Watch />;
  },
  write: (id) => <Write key={id} model={id} />,
  server: (id) => <Server part={id} />,
};

function Page() {
  const who = useStore(session);
  const here = useStore(place);
  const spoken = useStore(language);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.documentElement.lang = spoken === "zh" ? "zh-CN" : spoken;
  }, [spoken]);
  // A new view is announced by its heading; the first one leaves the focus alone.
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) main.current?.querySelector<HTMLElement>("h1")?.focus();
    isFirst.current = false;
  }, [here.view, here.id]);
  return (
    <>
      <a class="skip" href="#main">
        {t("skip")}
      </a>
      <Away />
      {who && <Announcement />}
      <header>
        <a class="wordmark" href="/" data-view>
          Quire
        </a>
        {who && here.view !== "shared" && <Navigation view={here.view} />}
        <Tools />
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {here.view === "shared" ? (
          <SharedView key={here.id} token={here.id} />
        ) : here.view === "enrol" ? (
          <Enrol />
        ) : who === undefined ? (
          <p class="soft">{t("loading")}</p>
        ) : who === null ? (
          <SignIn />
        ) : (
          (VIEWS[here.view]?.(here.id) ?? <h1 tabIndex={-1}>{t("notFound")}</h1>)
        )}
      </main>
    </>
  );
}

function Navigation({ view }: { view: string }) {
  return (
    <nav aria-label={t("navigation")}>
      {(["teach", "watch", "write", "library", "server"] as const).map((each) => (
        <a key={each} href={`/${each}`} data-view aria-current={each === view ? "page" : undefined}>
          {t(each)}
        </a>
      ))}
    </nav>
  );
}

function Tools() {
  const who = useStore(session);
  const spoken = useStore(language);
  const leave = () => {
    forgetDrafts();
    void signOut().catch(() => undefined);
  };
  return (
    <div class="tools">
      {Object.entries(languages)
        .filter(([name]) => name !== spoken)
        .map(([name, messages]) => (
          <button key={name} type="button" lang={name} onClick={() => speak(name)}>
            {messages.language}
          </button>
        ))}
      {who && (
        <>
          <span class="who">{who.user.name}</span>
          <button type="button" onClick={leave}>
            {t("signOut")}
          </button>
        </>
      )}
    </div>
  );
}

function Away() {
  const away = useStore(isAway);
  return (
    <div role="status" class={away ? "away" : ""}>
      {away && t("away")}
    </div>
  );
}

const root = document.getElementById("page");
if (root) render(<Page />, root);
// A sign-in link's token is redeemed before anything else is asked.
if (!(place.get().view === "sign-in" && location.hash)) {
  void findSession().catch(() => session.set(null));
} else {
  session.set(null);
}
