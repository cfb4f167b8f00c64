// Keeping a text, with a note; and sharing a text or a job by a link.
import { useState } from "preact/hooks";
import { type NewShare, type Text, patch, post } from "../api/client";
import { moment, t } from "../i18n";
import { Button, Field, Refusal } from "./form";
import { useAction } from "./load";

export function Keep({ text, onChange }: { text: Text; onChange?: (() => void) | undefined }) {
  const [kept, setKept] = useState({ kept: text.kept, note: text.note ?? "" });
  const [typed, setTyped] = useState<string>();
  const action = useAction();
  const change = (body: { kept?: boolean; note?: string | null }) =>
    action.run(async () => {
      const now = await patch<Text>(`/v1/texts/${text.id}`, body);
      setKept({ kept: now.kept, note: now.note ?? "" });
      setTyped(undefined);
      onChange?.();
    });
  if (typed !== undefined) {
    return (
      <form
        class="note"
        onSubmit={(event) => {
          event.preventDefault();
          change({ kept: true, note: typed.trim() || null });
        }}
      >
        <Field label={t("note")} error={action.problem?.fields["note"]}>
          {(props) => (
            <textarea
              {...props}
              class="plain"
              rows={2}
              dir="auto"
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          )}
        </Field>
        <Refusal problem={action.problem} shown={["note"]} />
        <p class="actions">
          <Button type="submit" busy={action.isBusy}>
            {t("keep")}
          </Button>
          {kept.kept && (
            <Button onClick={() => change({ kept: false })} busy={action.isBusy}>
              {t("keepNoLonger")}
            </Button>
          )}
          <Button onClick={() => setTyped(undefined)}>{t("close")}</Button>
        </p>
      </form>
    );
  }
  return (
    <>
      <Button aria-pressed={kept.kept} onClick={() => setTyped(kept.note)}>
        {t(kept.kept ? "kept" : "keep")}
      </Button>
      {kept.note && (
        <span class="hint" dir="auto">
          {kept.note}
        </span>
      )}
    </>
  );
}

export function ShareLink({ what }: { what: { job: string } | { text: string } }) {
  const [made, setMade] = useState<NewShare>();
  const action = useAction();
  const share = () => action.run(async () => setMade(await post<NewShare>("/v1/shares", what)));
  return (
    <>
      <Button onClick={share} busy={action.isBusy}>
        {t("shareLink")}
      </Button>
      <Refusal problem={action.problem} />
      {made?.url && (
        <span class="shared" role="status">
          <code class="secret">{made.url}</code>
          <span class="hint">{t("shareHint", { time: moment(made.expires_at) })}</span>
        </span>
      )}
    </>
  );
}
