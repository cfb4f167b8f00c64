// A written text: what was given, what was written, and what of it is copied. A character is
// chosen by pointing at it, or with the arrow keys, and looked into.
import { useId, useMemo, useRef, useState } from "preact/hooks";
import type { Text } from "../api/client";
import { number, t } from "../i18n";
import { Button } from "./form";

export interface Written {
  prompt: string;
  text: string;
  novelty?: Text["novelty"];
  echo?: boolean;
  copied_spans?: { start: number; length: number }[] | null;
  /** What the network chose, one after the other, and what it might have chosen. */
  tokens?: string[] | null;
  logprobs?: number[] | null;
  top_logprobs?: { token: string; logprob: number }[][] | null;
}

interface Props {
  written: Written;
  /** Goes on writing from a place: gets all that stands before it. */
  onGoOn?: ((beginning: string) => void) | undefined;
}

/** A copy is worth a line from this length on. */
const SHOWN_COPY = 12;
/** So much of a text is said of a place in it, in characters. */
const SHOWN_BEFORE = 24;

/** A stretch of the text, in characters: code points, not UTF-16 units. */
interface Stretch {
  from: number;
  to: number;
  copied: number;
}

/** The copies that were asked for, or else the longest one. */
function copies(characters: string[], { copied_spans, novelty }: Written): { start: number; length: number }[] {
  if (copied_spans) return copied_spans;
  if (!novelty || novelty.copied_characters < SHOWN_COPY) return [];
  const text = characters.join("");
  const at = text.indexOf(novelty.copied);
  return at < 0 ? [] : [{ start: [...text.slice(0, at)].length, length: [...novelty.copied].length }];
}

function stretches(characters: string[], written: Written): Stretch[] {
  const parts: Stretch[] = [];
  let reached = 0;
  for (const { start, length } of copies(characters, written)) {
    if (start > reached) parts.push({ from: reached, to: start, copied: 0 });
    parts.push({ from: start, to: start + length, copied: length });
    reached = start + length;
  }
  if (reached < characters.length) parts.push({ from: reached, to: characters.length, copied: 0 });
  return parts;
}

/** The number of the token that a character is of; its tokens are those of what was written. */
function tokenAt(written: Written, characters: string[], at: number): number | null {
  const { tokens, echo, prompt } = written;
  if (!tokens) return null;
  let reached = echo ? [...prompt].length : 0;
  for (let index = 0; index < tokens.length; index += 1) {
    reached += [...(tokens[index] ?? "")].length;
    if (at < reached) return at < (echo ? [...prompt].length : 0) ? null : index;
  }
  return characters.length ? null : 0;
}

export function Passage({ written, onGoOn }: Props) {
  const id = useId();
  const body = useRef<HTMLSpanElement>(null);
  const [chosen, setChosen] = useState<number | null>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  const { prompt, text } = written;
  const characters = useMemo(() => [...text], [text]);
  const parts = useMemo(() => stretches(characters, written), [characters, written]);
  const isOpen = onGoOn !== undefined || Boolean(written.top_logprobs);
  const last = characters.length - 1;
  const at = last < 0 ? null : (chosen ?? pointed) === null ? null : Math.min((chosen ?? pointed)!, last);
  const token = at === null ? null : tokenAt(written, characters, at);

  const place = (event: MouseEvent): number | null => {
    const found = placeAt(body.current, event.clientX, event.clientY);
    return found === null ? null : [...text.slice(0, found)].length;
  };
  const step = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") setChosen(null);
    if (by === undefined || event.shiftKey || last < 0) return;
    event.preventDefault();
    setChosen(Math.max(0, Math.min(last, (at ?? (by > 0 ? -1 : last + 1)) + by)));
  };
  const interaction = isOpen
    ? {
        tabIndex: 0,
        role: "group" as const,
        "aria-describedby": id,
        "aria-label": t("textLabel"),
        onClick: (event: MouseEvent) => setChosen(place(event) ?? chosen),
        onKeyDown: step,
        // Without probabilities there is nothing to see in passing.
        onPointerMove: (event: PointerEvent) =>
          written.top_logprobs && event.pointerType === "mouse" && setPointed(place(event)),
        onPointerLeave: () => setPointed(null),
      }
    : {};
  const slice = (from: number, to: number) => characters.slice(from, to).join("");
  return (
    <>
      <p class="text" dir="auto" translate={false} {...interaction}>
        {!written.echo && prompt && <span class="prompt">{prompt}</span>}
        <span ref={body}>
          {parts.map((part) =>
            part.copied ? (
              <span key={part.from} class="copied" title={t("copiedSpan", { n: part.copied })}>
                {slice(part.from, part.to)}
              </span>
            ) : (
              slice(part.from, part.to)
            ),
          )}
        </span>
      </p>
      {isOpen && (
        <div id={id} class={at === null ? "hidden" : "looked"} aria-live="polite">
          {at === null ? (
            t("textHint")
          ) : (
            <>
              <p>
                <bdi translate={false}>…{slice(Math.max(0, at + 1 - SHOWN_BEFORE), at)}</bdi>
                <mark translate={false}>{visible(characters[at] ?? "")}</mark>
              </p>
              {token !== null && <Likely written={written} token={token} />}
              {parts.some((part) => part.copied && part.from <= at && at < part.to) && (
                <p class="hint">
                  {t("copiedSpan", {
                    n: number(parts.find((part) => part.copied && part.from <= at && at < part.to)?.copied ?? 0),
                  })}
                </p>
              )}
              {chosen !== null && (
                <p class="actions">
                  {onGoOn && (
                    <Button
                      onClick={() => {
                        onGoOn((written.echo ? "" : prompt) + slice(0, at + 1));
                        setChosen(null);
                      }}
                    >
                      {t("goOnHere")}
                    </Button>
                  )}
                  <Button onClick={() => setChosen(null)}>{t("close")}</Button>
                </p>
              )}
            </>
          )}
        </div>
      )}
    </>
  );
}

/** How likely a token was, and what else was. */
function Likely({ written, token }: { written: Written; token: number }) {
  const own = written.logprobs?.[token];
  const others = written.top_logprobs?.[token] ?? [];
  return (
    <>
      {own !== undefined && <p>{t("wasLikely", { percent: percent(Math.exp(own)) })}</p>}
      {others.length > 0 && (
        <Bars
          label={t("likeliest")}
          bars={others.map((each) => ({ token: each.token, probability: Math.exp(each.logprob) }))}
        />
      )}
    </>
  );
}

export interface Bar {
  token: string;
  probability: number;
}

/** Tokens with their probabilities, likeliest first. */
export function Bars({ label, bars }: { label: string; bars: Bar[] }) {
  return (
    <ol class="bars" aria-label={label}>
      {bars.map((bar) => (
        <li key={bar.token}>
          <code translate={false}>{[...bar.token].map(visible).join("")}</code>
          <progress value={bar.probability} max={1} aria-label={visible(bar.token)} />
          <span>{percent(bar.probability)}</span>
        </li>
      ))}
    </ol>
  );
}

/** Less than this is told as less. */
const LEAST = 0.0001;

export function percent(probability: number): string {
  if (probability > 0 && probability < LEAST) return `< ${number(LEAST * 100, 2)} %`;
  return `${number(probability * 100, probability < 0.1 ? 2 : 1)} %`;
}

/** A character as it can be seen. */
export function visible(character: string): string {
  return character === "\n" ? "↵" : character === " " ? "␣" : character === "\t" ? "⇥" : character;
}

/** The offset in an element's text at a point of the window, in UTF-16 units. */
function placeAt(element: HTMLElement | null, x: number, y: number): number | null {
  if (!element) return null;
  let node: Node | null = null;
  let offset = 0;
  if ("caretPositionFromPoint" in document) {
    const caret = document.caretPositionFromPoint(x, y);
    [node, offset] = [caret?.offsetNode ?? null, caret?.offset ?? 0];
  } else {
    // Browsers from before the standard's name.
    const range = (document as Document).caretRangeFromPoint(x, y);
    [node, offset] = [range?.startContainer ?? null, range?.startOffset ?? 0];
  }
  if (!node || !element.contains(node)) return null;
  const before = document.createRange();
  before.setStart(element, 0);
  before.setEnd(node, offset);
  const caret = before.toString().length;
  // A caret stands between two characters: the one that is pointed at is under the point.
  if (node.nodeType === Node.TEXT_NODE && offset > 0) {
    const left = document.createRange();
    left.setStart(node, offset - 1);
    left.setEnd(node, offset);
    const isLeft = [...left.getClientRects()].some(
      (box) => x >= box.left && x < box.right && y >= box.top && y <= box.bottom,
    );
    if (isLeft) return caret - 1;
  }
  return caret;
}
