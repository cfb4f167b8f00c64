// Messages, numbers and times in the reader's language. The API's own sentences stay as they are.
import { store } from "../store";
import { en, type Messages } from "./en";
import { zh } from "./zh";

export const languages: Record<string, Messages> = { en, zh };
const KEPT = "language";

function first(): string {
  const wanted = [localStorage.getItem(KEPT) ?? "", ...navigator.languages];
  return wanted.map((each) => each.slice(0, 2)).find((each) => each in languages) ?? "en";
}

export const language = store(first());

export function speak(name: string): void {
  localStorage.setItem(KEPT, name);
  language.set(name);
}

export function t(name: keyof Messages, values: Record<string, string | number> = {}): string {
  const message = (languages[language.get()] ?? en)[name];
  return message.replace(/\{(\w+)\}/g, (_, key: string) => String(values[key] ?? ""));
}

/** The reader's own variety of the language, such as en-GB: it decides how dates look. */
const locale = (): string =>
  navigator.languages.find((each) => each.startsWith(language.get())) ?? language.get();

export const number = (value: number, digits = 0): string =>
  value.toLocaleString(locale(), { maximumFractionDigits: digits });

export const loss = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : value.toFixed(3);

export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${number(bytes / 1024 ** power, power ? 1 : 0)} ${units[power]}`;
}

/** A duration as 0:09, 12:34 or 1:02:03. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export const moment = (at: string): string =>
  new Date(at).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });

export const clock = (at: string): string =>
  new Date(at).toLocaleTimeString(locale(), { timeStyle: "short" });
