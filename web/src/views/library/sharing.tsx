// Who sees a model or a text of one's own, and what it is called.
import { useState } from "preact/hooks";
import { type Corpus, type Group, type Model, everyItem, patch } from "../../api/client";
import { number, size, t } from "../../i18n";
import { Button, Check, Input, Refusal, Select } from "../../parts/form";
import { useAction, useLoaded } from "../../parts/load";

const SHOWN = ["name", "visibility", "group"];
/** A group's choice is its id behind this. */
const GROUP = "group ";

/** Who else sees it, in words; empty if nobody does. */
export function seenBy(thing: Model | Corpus): string {
  if (thing.visibility === "server") return t("seenByAll");
  return thing.visibility === "group" ? t("seenByGroup", { group: thing.group ?? "" }) : "";
}

interface Props {
  /** The address of its kind, such as `/v1/models`. */
  path: string;
  thing: Model | Corpus;
  hint: string;
  onChange(): void;
}

export function Sharing({ path, thing, hint, onChange }: Props) {
  const groups = useLoaded(() => everyItem<Group>("/v1/groups"));
  const own = (groups.value ?? []).filter((each) => each.role && !each.ended);
  const group = own.find((each) => each.name === thing.group);
  const before = thing.visibility === "group" ? GROUP + (group?.id ?? "") : thing.visibility;
  const [name, setName] = useState(thing.name);
  const [chosen, setChosen] = useState<string>();
  const excerptsBefore = "allow_excerpts" in thing ? thing.allow_excerpts : undefined;
  const [excerpts, setExcerpts] = useState(excerptsBefore ?? false);
  const [isSaved, setSaved] = useState(false);
  const action = useAction();
  const refused = action.problem?.fields ?? {};
  const visibility = chosen ?? before;

  const changes: Record<string, unknown> = {};
  if (name.trim() !== thing.name) changes["name"] = name.trim();
  if (visibility !== before) {
    const isGroup = visibility.startsWith(GROUP);
    Object.assign(changes, isGroup ? { visibility: "group", group: visibility.slice(GROUP.length) } : { visibility });
  }
  if (excerptsBefore !== undefined && excerpts !== excerptsBefore) changes["allow_excerpts"] = excerpts;
  const hasChanged = Object.keys(changes).length > 0;

  const save = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      await patch(`${path}/${thing.id}`, changes);
      setSaved(true);
      onChange();
    });
  };
  return (
    <form onSubmit={save}>
      <div class="row">
        <Input label={t("name")} value={name} onValue={setName} error={refused["name"]} />
        <Select
          label={t("seen")}
          hint={visibility === "private" ? undefined : hint}
          value={visibility}
          options={[
            ["private", t("seenByMe")],
            ["server", t("seenByAll")],
            // One that has ended, or that one is no longer in.
            ...(before === GROUP ? [[GROUP, seenBy(thing)] as [string, string]] : []),
            ...own.map((each): [string, string] => [GROUP + each.id, t("seenByGroup", { group: each.name })]),
          ]}
          onValue={setChosen}
          error={refused["visibility"] ?? refused["group"]}
        />
      </div>
      {excerptsBefore !== undefined && (
        <Check label={t("excerpts")} hint={t("excerptsHint")} checked={excerpts} onChecked={setExcerpts} />
      )}
      <Refusal problem={groups.problem ?? action.problem} shown={SHOWN} />
      <p class="actions">
        <Button type="submit" busy={action.isBusy} disabled={!hasChanged || !name.trim()}>
          {t("save")}
        </Button>
        <span class="soft" role="status">
          {isSaved && !hasChanged && t("saved")}
        </span>
      </p>
    </form>
  );
}

/** A text as it was read, and, for its owner, who sees it. */
export function AboutCorpus({ corpus, isOwn, onChange }: { corpus: Corpus; isOwn: boolean; onChange(): void }) {
  const rows: [string, string][] = [
    [t("textSize"), size(corpus.bytes)],
    [t("textCharacters"), number(corpus.characters)],
    [t("textDistinct"), number(corpus.distinct_characters)],
    [t("encoding"), corpus.encoding],
  ];
  return (
    <>
      <dl class="caps">
        {rows.map(([term, value]) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {isOwn && <Sharing path="/v1/corpora" thing={corpus} hint={t("seenTextHint")} onChange={onChange} />}
    </>
  );
}
