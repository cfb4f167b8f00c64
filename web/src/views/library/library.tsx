// What one has: models and texts, what was kept and shared, and what was deleted and can be restored.
import { type ComponentChild } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Corpus, type Model, type Share, type Text, call, post, remove, session } from "../../api/client";
import { moment, number, t } from "../../i18n";
import { Button, Refusal, SureButton } from "../../parts/form";
import { type Listed, useAction, useList } from "../../parts/load";
import { Passage } from "../../parts/passage";
import { TextActions } from "../../parts/text";
import { ImportModel } from "./import";
import { AboutModel } from "./model";
import { AboutCorpus, Sharing, seenBy } from "./sharing";

type Owned = Model | Corpus;

export function Library() {
  const models = useList<Model>("/v1/models?limit=50");
  const corpora = useList<Corpus>("/v1/corpora?limit=50");
  const [moved, setMoved] = useState(0);
  const me = session.get()?.user.name;
  useEffect(() => {
    document.title = `${t("library")} · Quire`;
  });
  const reload = () => {
    models.reload();
    corpora.reload();
    setMoved(moved + 1);
  };
  return (
    <>
      <h1 tabIndex={-1}>{t("library")}</h1>
      <Things
        title={t("models")}
        empty={t("noModels")}
        path="/v1/models"
        list={models}
        onMoved={reload}
        link={(model) => `/write/${model.id}`}
        about={(model) => moment(model.created_at)}
        details={(model) => (
          <>
            <AboutModel model={model} />
            {model.owner === me && (
              <Sharing path="/v1/models" thing={model} hint={t("seenModelHint")} onChange={models.reload} />
            )}
          </>
        )}
      >
        <ImportModel onDone={models.reload} />
      </Things>
      <Things
        title={t("corporaTitle")}
        empty={t("noCorpora")}
        path="/v1/corpora"
        list={corpora}
        onMoved={reload}
        about={(corpus) => t("characters", { n: number(corpus.characters) })}
        details={(corpus) => (
          <AboutCorpus corpus={corpus} isOwn={corpus.owner === me} onChange={corpora.reload} />
        )}
      />
      <Kept />
      <Shares />
      <Deleted key={moved} onMoved={reload} />
    </>
  );
}

function More<T>({ list }: { list: Listed<T> }) {
  return list.more ? (
    <Button onClick={list.more} busy={list.isBusy}>
      {t("showMore")}
    </Button>
  ) : null;
}

interface ThingsProps<T extends Owned> {
  title: string;
  empty: string;
  path: string;
  list: Listed<T>;
  onMoved(): void;
  link?(thing: T): string;
  about(thing: T): string;
  /** What is shown below a thing when it is opened. */
  details?(thing: T): ComponentChild;
  /** What is shown below the list. */
  children?: ComponentChild;
}

function Things<T extends Owned>({ title, empty, path, list, onMoved, link, about, details, children }: ThingsProps<T>) {
  const [opened, setOpened] = useState("");
  const action = useAction();
  const me = session.get()?.user.name;
  const discard = (thing: T) =>
    action.run(async () => {
      await remove(`${path}/${thing.id}`);
      onMoved();
    });
  return (
    <section>
      <h2>{title}</h2>
      <Refusal problem={list.problem ?? action.problem} />
      {list.isLoaded && !list.items.length && <p class="soft">{empty}</p>}
      <ul class="list">
        {list.items.map((thing) => (
          <li key={thing.id}>
            {link ? (
              <a href={link(thing)} data-view dir="auto">
                {thing.name}
              </a>
            ) : (
              <span dir="auto">{thing.name}</span>
            )}
            <span class="soft buttons">
              {thing.owner !== me && `${t("shared", { owner: thing.owner })} · `}
              {thing.owner === me && seenBy(thing) && `${seenBy(thing)} · `}
              {about(thing)}
              {details && (
                <Button
                  onClick={() => setOpened(opened === thing.id ? "" : thing.id)}
                  aria-expanded={opened === thing.id}
                  aria-label={t("aboutOf", { name: thing.name })}
                >
                  {t("about")}
                </Button>
              )}
              {thing.owner === me && (
                <SureButton label={t("delete")} name={thing.name} onSure={() => discard(thing)} />
              )}
            </span>
            {details && opened === thing.id && <div class="opened">{details(thing)}</div>}
          </li>
        ))}
      </ul>
      <More list={list} />
      {children}
    </section>
  );
}

/** What was deleted can be restored for some days. */
function Deleted({ onMoved }: { onMoved(): void }) {
  const models = useList<Model>("/v1/models?deleted=true&limit=50");
  const corpora = useList<Corpus>("/v1/corpora?deleted=true&limit=50");
  const action = useAction();
  const act = (what: () => Promise<unknown>) => () =>
    action.run(async () => {
      await what();
      onMoved();
    });
  const row = (path: string, thing: Owned, kind: string) => (
    <li key={thing.id}>
      <span dir="auto">
        {thing.name} <small class="soft">{kind}</small>
      </span>
      <span class="soft buttons">
        {thing.purge_at && t("goneAt", { time: moment(thing.purge_at) })}
        <Button
          onClick={act(() => post(`${path}/${thing.id}/restore`))}
          aria-label={`${t("restore")} ${thing.name}`}
        >
          {t("restore")}
        </Button>
        <SureButton
          label={t("purge")}
          name={thing.name}
          onSure={act(() => remove(`${path}/${thing.id}?purge=true`))}
        />
      </span>
    </li>
  );
  if (!models.items.length && !corpora.items.length) return null;
  return (
    <section>
      <h2>{t("deleted")}</h2>
      <p class="soft">{t("deletedHint")}</p>
      <Refusal problem={action.problem} />
      <ul class="list">
        {models.items.map((model) => row("/v1/models", model, t("model")))}
        {corpora.items.map((corpus) => row("/v1/corpora", corpus, t("text")))}
      </ul>
      <More list={models} />
      <More list={corpora} />
    </section>
  );
}

function Kept() {
  const texts = useList<Text>("/v1/texts?kept=true&limit=20");
  if (!texts.items.length) return null;
  return (
    <section>
      <h2>{t("keptTexts")}</h2>
      <Refusal problem={texts.problem} />
      {texts.items.map((text) => (
        <article key={text.id} aria-label={text.note ?? t("text")}>
          {text.note && (
            <p class="note" dir="auto">
              {text.note}
            </p>
          )}
          <Passage written={text} />
          <TextActions written={text} name={`quire-${text.id}`} onChange={texts.reload} />
        </article>
      ))}
      <More list={texts} />
    </section>
  );
}

/** The links that one shares with, without the links themselves: they are shown once. */
function Shares() {
  const shares = useList<Share>("/v1/shares?limit=50");
  const action = useAction();
  const revoke = (share: Share) =>
    action.run(async () => {
      await call("DELETE", `/v1/shares/${share.id}`);
      shares.reload();
    });
  if (!shares.items.length) return null;
  return (
    <section>
      <h2>{t("shareLinks")}</h2>
      <Refusal problem={shares.problem ?? action.problem} />
      <ul class="list">
        {shares.items.map((share) => (
          <li key={share.id}>
            <span>
              {share.job ? (
                <a href={`/watch/${share.job}`} data-view>
                  {t("kind_train")} {share.job}
                </a>
              ) : (
                `${t("text")} ${share.text ?? ""}`
              )}
            </span>
            <span class="soft buttons">
              {t("endsAt", { time: moment(share.expires_at) })}
              <SureButton label={t("revoke")} name={share.job ?? share.text ?? ""} onSure={() => revoke(share)} />
            </span>
          </li>
        ))}
      </ul>
      <More list={shares} />
    </section>
  );
}
