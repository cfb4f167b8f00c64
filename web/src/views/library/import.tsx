// A model that was exported, from this server or another one, comes back as a file.
import { useRef, useState } from "preact/hooks";
import { type Model, call } from "../../api/client";
import { t } from "../../i18n";
import { Button, Field, Input, Refusal } from "../../parts/form";
import { useAction } from "../../parts/load";

/** The API calls the file `body`. */
const SHOWN = ["body", "name"];

export function ImportModel({ onDone }: { onDone(): void }) {
  const [file, setFile] = useState<File>();
  const [name, setName] = useState("");
  const [made, setMade] = useState<Model>();
  const field = useRef<HTMLInputElement>(null);
  const action = useAction();
  const refused = action.problem?.fields ?? {};
  const bring = (event: Event) => {
    event.preventDefault();
    if (!file) return;
    setMade(undefined);
    action.run(async () => {
      const query = name.trim() ? `?name=${encodeURIComponent(name.trim())}` : "";
      setMade(await call<Model>("POST", `/v1/models/import${query}`, file));
      setFile(undefined);
      setName("");
      if (field.current) field.current.value = "";
      onDone();
    });
  };
  return (
    <>
      <details>
        <summary>{t("importModel")}</summary>
        <form class="row" onSubmit={bring}>
          <Field label={t("importFile")} hint={t("importFileHint")} error={refused["body"]}>
            {(props) => (
              <input
                {...props}
                ref={field}
                type="file"
                accept=".safetensors"
                onChange={(event) => {
                  action.clear();
                  setFile(event.currentTarget.files?.[0]);
                }}
              />
            )}
          </Field>
          <Input label={t("name")} hint={t("importNameHint")} value={name} onValue={setName} error={refused["name"]} />
          <Button type="submit" busy={action.isBusy} disabled={!file}>
            {t("import")}
          </Button>
        </form>
        <Refusal problem={action.problem} shown={SHOWN} />
      </details>
      <p role="status">
        {made && (
          <>
            {t("imported")}{" "}
            <a href={`/write/${made.id}`} data-view dir="auto">
              {made.name}
            </a>
          </>
        )}
      </p>
    </>
  );
}
