// The server: what it does, who waits, and, for those who manage it, people, groups and the audit.
import { type JSX } from "preact";
import { useEffect } from "preact/hooks";
import { session } from "../../api/client";
import { t } from "../../i18n";
import type { en } from "../../i18n/en";
import { useStore } from "../../store";
import { Audit } from "./audit";
import { Groups } from "./groups";
import { Overview } from "./overview";
import { People } from "./people";

interface Part {
  name: string;
  title: keyof typeof en;
  isAdmins: boolean;
  view(): JSX.Element;
}

const PARTS: Part[] = [
  { name: "", title: "overview", isAdmins: false, view: () => <Overview /> },
  { name: "groups", title: "groups", isAdmins: false, view: () => <Groups /> },
  { name: "people", title: "people", isAdmins: true, view: () => <People /> },
  { name: "audit", title: "audit", isAdmins: true, view: () => <Audit /> },
];

export function Server({ part }: { part: string }) {
  const who = useStore(session);
  useEffect(() => {
    document.title = `${t("server")} · Quire`;
  });
  const isAdmin = who?.user.role === "admin";
  const parts = PARTS.filter((each) => isAdmin || !each.isAdmins);
  const shown = parts.find((each) => each.name === part);
  return (
    <>
      <h1 tabIndex={-1}>{shown ? t("serverTitle") : t("notFound")}</h1>
      <nav class="parts" aria-label={t("serverTitle")}>
        {parts.map((each) => (
          <a
            key={each.name}
            href={each.name ? `/server/${each.name}` : "/server"}
            data-view
            aria-current={each === shown ? "page" : undefined}
          >
            {t(each.title)}
          </a>
        ))}
      </nav>
      {shown?.view()}
    </>
  );
}
