// What can be done with a written text.
import { useState } from "preact/hooks";
import type { Text } from "../api/client";
import { t } from "../i18n";
import { Button } from "./form";
import { Keep, ShareLink } from "./keep";
import type { Written } from "./passage";

/** Save a text, or bytes, as a file. */
export function download(name: string, what: string | Blob): void {
  const blob = typeof what === "string" ? new Blob([what], { type: "text/plain;charset=utf-8" }) : what;
  const url = URL.createObjectURL(blob);
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
    text.finish_reason === "exhausted" && t("exhausted"),
    text.discarded ? t("discarded", { n: text.discarded }) : "",
    text.nearest && t("nearestIs", { item: text.nearest.item, n: text.nearest.distance }),
  ].filter(Boolean);
  if (!marks.length) return null;
  return (
    <span class={text.copy ? "hint copy" : "hint"} dir="auto">
      {marks.join(" · ")}
    </span>
  );
}
