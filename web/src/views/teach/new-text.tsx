// A new text: dropped, chosen or pasted. What it is, the API says; the page looks at nothing itself.
import { useEffect, useState } from "preact/hooks";
import { type Corpus, type DryRun, type Finding, call } from "../../api/client";
import { number, t } from "../../i18n";
import { Button, Field, Input, Refusal, Select } from "../../parts/form";
import { useAction } from "../../parts/load";
import { useDraft } from "../../store";

const FIELDS = ["name", "encoding", "on_invalid", "normalize", "items", "separator", "column"];
/** A way out that the API offers, such as `items=lines`; NAME stands for what one has to name. */
const OFFERED = /\b(encoding|on_invalid|normalize|items)=([\w-]+)/;
const PAUSE_MILLISECONDS = 400;

export function NewText({ onKept }: { onKept(corpus: Corpus): void }) {
  const [files, setFiles] = useState<File[]>([]);
  const [pasted, setPasted] = useDraft("text.pasted", "");
  const [name, setName] = useDraft("text.name", "");
  const [encoding, setEncoding] = useDraft("text.encoding", "");
  const [onInvalid, setOnInvalid] = useDraft("text.on_invalid", "refuse");
  const [normalize, setNormalize] = useDraft("text.normalize", "");
  const [items, setItems] = useDraft("text.items", "");
  const [separator, setSeparator] = useDraft("text.separator", "");
  const [column, setColumn] = useDraft("text.column", "");
  const [isOver, setOver] = useState(false);
  const [found, setFound] = useState<DryRun>();
  const look = useAction();
  const keep = useAction();
  const hasText = files.length > 0 || pasted !== "";

  const form = () => {
    const data = new FormData();
    const texts = files.length ? files : [new File([pasted], "pasted.txt", { type: "text/plain" })];
    for (const file of texts) data.append("file", file);
    if (name.trim()) data.append("name", name);
    if (encoding.trim()) data.append("encoding", encoding.trim());
    if (onInvalid !== "refuse") data.append("on_invalid", onInvalid);
    if (normalize) data.append("normalize", normalize);
    if (items) data.append("items", items);
    if (items === "separator" && separator) data.append("separator", separator);
    if (items === "column" && column.trim()) data.append("column", column.trim());
    return data;
  };

  useEffect(() => {
    setFound(undefined);
    look.clear();
    if (!hasText) return;
    let isCurrent = true;
    const timer = setTimeout(() => {
      look.run(async () => {
        const dryRun = await call<DryRun>("POST", "/v1/corpora?dry_run=true", form());
        if (isCurrent) setFound(dryRun);
      });
    }, PAUSE_MILLISECONDS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [files, pasted, name, encoding, onInvalid, normalize, items, separator, column]);

  const declare: Declare = {
    encoding: setEncoding,
    on_invalid: setOnInvalid,
    normalize: setNormalize,
    items: setItems,
  };

  const store = () =>
    keep.run(async () => {
      const corpus = await call<Corpus>("POST", "/v1/corpora", form());
      setPasted("");
      setName("");
      setItems("");
      onKept(corpus);
    });
  const take = (list: FileList | null | undefined) => {
    if (list?.length) setFiles([...list]);
  };
  const refused = { ...look.problem?.fields, ...keep.problem?.fields };
  return (
    <>
      <div
        class={isOver ? "drop over" : "drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          take(event.dataTransfer?.files);
        }}
      >
        <label>
          {files.length ? files.map((file) => file.name).join(", ") : t("drop")}
          <input type="file" multiple onChange={(event) => take(event.currentTarget.files)} />
        </label>
      </div>
      {!files.length && (
        <Field label={t("orPaste")}>
          {(props) => (
            <textarea
              {...props}
              rows={5}
              dir="auto"
              value={pasted}
              onInput={(event) => setPasted(event.currentTarget.value)}
            />
          )}
        </Field>
      )}
      {hasText && (
        <>
          <Input label={t("name")} value={name} onValue={setName} placeholder={found?.name ?? ""} error={refused["name"]} />
          <details open={Boolean(look.problem) || encoding !== "" || onInvalid !== "refuse" || items !== ""}>
            <summary>{t("more")}</summary>
            <div class="grid">
              <Input label={t("encoding")} hint={t("encodingHint")} value={encoding} onValue={setEncoding} error={refused["encoding"]} />
              <Select
                label={t("onInvalid")}
                value={onInvalid}
                options={[
                  ["refuse", t("refuse")],
                  ["replace", t("replace")],
                  ["drop", t("dropThem")],
                ]}
                onValue={setOnInvalid}
                error={refused["on_invalid"]}
              />
              <Select
                label={t("normalize")}
                value={normalize}
                options={[
                  ["", t("asIs")],
                  ["nfc", "NFC"],
                  ["nfd", "NFD"],
                ]}
                onValue={setNormalize}
                error={refused["normalize"]}
              />
              <Select
                label={t("items")}
                hint={t("itemsHint")}
                value={items}
                options={[
                  ["", t("itemsNone")],
                  ["lines", t("itemsLines")],
                  ["blank", t("itemsBlank")],
                  ["separator", t("itemsSeparator")],
                  ["column", t("itemsColumn")],
                  ["files", t("itemsFiles")],
                ]}
                onValue={setItems}
                error={refused["items"]}
              />
              {items === "separator" && (
                <Input label={t("separator")} value={separator} onValue={setSeparator} error={refused["separator"]} />
              )}
              {items === "column" && (
                <Input label={t("column")} hint={t("columnHint")} value={column} onValue={setColumn} error={refused["column"]} />
              )}
            </div>
          </details>
        </>
      )}
      <div aria-live="polite">
        {look.isBusy && <p class="soft">{t("looking")}</p>}
        <Refusal problem={look.problem} shown={FIELDS} />
        {look.problem && <Offers ways={look.problem.ways} declare={declare} />}
        <Refusal problem={keep.problem} shown={FIELDS} />
        {found && <Found found={found} declare={declare} />}
      </div>
      {hasText && (
        <p class="actions">
          <Button kind="main" onClick={store} busy={keep.isBusy} disabled={!found}>
            {t("keepText")}
          </Button>
          <Button
            onClick={() => {
              setFiles([]);
              setPasted("");
            }}
          >
            {t("otherText")}
          </Button>
        </p>
      )}
    </>
  );
}

type Declare = Record<string, (value: string) => void>;

/** Buttons for the ways out that are one field alone. */
function Offers({ ways, declare }: { ways: string[]; declare: Declare }) {
  const offers = ways.map((way) => OFFERED.exec(way)).filter((found) => found !== null);
  if (!offers.length) return null;
  return (
    <p class="actions">
      {offers.map(([offer, field, value]) => (
        <Button key={offer} onClick={() => declare[field ?? ""]?.(value ?? "")}>
          {offer}
        </Button>
      ))}
    </p>
  );
}

function Found({ found, declare }: { found: DryRun; declare: Declare }) {
  return (
    <div class="found">
      <p>
        {t("characters", { n: number(found.characters) })} ·{" "}
        {t("distinct", { n: number(found.distinct_characters) })} ·{" "}
        {t("encodingFound", { encoding: found.encoding })}
        {found.items && ` · ${t("itemsCount", { n: number(found.items.count), median: number(found.items.median) })}`}
      </p>
      <p class="soft">{t("beginning")}</p>
      <blockquote class="text" dir="auto" translate={false}>
        {found.excerpt}
      </blockquote>
      <p class="alphabet" translate={false} dir="auto">
        {[...found.alphabet].filter((each) => each.trim()).join(" ")}
      </p>
      {found.findings.length > 0 && (
        <>
          <h3>{t("findings")}</h3>
          <ul class="findings">
            {found.findings.map((finding: Finding) => (
              <li key={finding.code}>
                {finding.message}
                {finding.ways.length > 0 && (
                  <ul>
                    {finding.ways.map((way) => (
                      <li key={way}>{way}</li>
                    ))}
                  </ul>
                )}
                <Offers ways={finding.ways} declare={declare} />
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
