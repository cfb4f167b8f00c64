// A written text: what was given, what was written, and what of it is copied.
import { useState } from "preact/hooks";
import type { Text } from "../api/client";
import { t } from "../i18n";
import { Button } from "./form";

interface Written {
  prompt: string;
  text: string;
  novelty?: Text["novelty"];
  echo?: boolean;
}

/** A copy is worth a line from this length on. */
const SHOWN_COPY = 12;

export function Passage({ written }: { written: Written }) {
  const { prompt, text, novelty } = written;
  const copied = novelty && novelty.copied_characters >= SHOWN_COPY ? novelty.copied : "";
  const at = copied ? text.indexOf(copied) : -1;
  return (
    <p class="text" dir="auto" translate={false}>
      {!written.echo && prompt && <span class="prompt">{prompt}</span>}
      {at < 0 ? (
        text
      ) : (
        <>
          {text.slice(0, at)}
          <span class="copied" title={t("copiedSpan", { n: novelty?.copied_characters ?? 0 })}>
            {copied}
          </span>
          {text.slice(at + copied.length)}
        </>
      )}
    </p>
  );
}

export function TextActions({ written, name }: { written: Written; name: string }) {
  const [isCopied, setCopied] = useState(false);
  const whole = written.echo ? written.text : written.prompt + written.text;
  const copy = async () => {
    await navigator.clipboard.writeText(whole);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  const download = () => {
    const url = URL.createObjectURL(new Blob([whole], { type: "text/plain;charset=utf-8" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: `${name}.txt` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url));
  };
  return (
    <p class="actions">
      {navigator.clipboard && (
        <Button onClick={() => void copy()}>{isCopied ? t("copied") : t("copy")}</Button>
      )}
      <Button onClick={download}>{t("download")}</Button>
      {written.novelty && written.novelty.copied_characters > 0 && (
        <span class="hint">{t("mostCopied", { n: written.novelty.copied_characters })}</span>
      )}
    </p>
  );
}
