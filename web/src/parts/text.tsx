// What can be done with a written text.
import { useState } from "preact/hooks";
import type { Text } from "../api/client";
import { t } from "../i18n";
import { Button } from "./form";
import { Keep, ShareLink } from "./keep";
import type { Written } from "./passage";

/** Save a text as a file. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url));
}

interface Props {
  written: Written & Partial<Text>;
  name: string;
  /** Somebody's text, which is shared by a link. */
  isReadOnly?: boolean;
  onChange?: () => void;
}

export function TextActions({ written, name, isReadOnly = false, onChange }: Props) {
  const [isCopied, setCopied] = useState(false);
  const whole = written.echo ? written.text : written.prompt + written.text;
  const copy = async () => {
    await navigator.clipboard.writeText(whole);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <div class="actions">
      {navigator.clipboard && (
        <Button onClick={() => void copy()}>{isCopied ? t("copied") : t("copy")}</Button>
      )}
      <Button onClick={() => download(`${name}.txt`, whole)}>{t("download")}</Button>
      {!isReadOnly && written.id && (
        <>
          <Keep text={written as Text} onChange={onChange} />
          <ShareLink what={{ text: written.id }} />
        </>
      )}
      {written.novelty && written.novelty.copied_characters > 0 && (
        <span class="hint">{t("mostCopied", { n: written.novelty.copied_characters })}</span>
      )}
      <ItemMarks text={written} />
    </div>
  );
}

/** How an item ended, and whether it is one that the model learned. */
export function ItemMarks({ text }: { text: Partial<Text> }) {
  const marks = [
    text.finish_reason === "end" && t("endedByItself"),
    text.copy === true && t("isCopy"),
    text.copy === false && t("isNew"),
  ].filter(Boolean);
  return marks.length ? <span class={text.copy ? "hint copy" : "hint"}>{marks.join(" · ")}</span> : null;
}
