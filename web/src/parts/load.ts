// Reading from the API into a component, and again after the server was away.
import { useEffect, useState } from "preact/hooks";
import { type Page, Problem, comebacks, get } from "../api/client";
import { useStore } from "../store";

export interface Loaded<T> {
  value: T | undefined;
  problem: Problem | undefined;
  reload(): void;
}

/**
 * What a request returns; it is sent again when `key` changes and when the server comes back.
 */
export function useLoaded<T>(read: () => Promise<T>, key = "", everyMilliseconds = 0): Loaded<T> {
  const [value, setValue] = useState<T>();
  const [problem, setProblem] = useState<Problem>();
  const [times, setTimes] = useState(0);
  const comeback = useStore(comebacks);
  useEffect(() => {
    let isCurrent = true;
    read().then(
      (found) => {
        if (!isCurrent) return;
        setValue(() => found);
        setProblem(undefined);
      },
      (error: unknown) => isCurrent && setProblem(asProblem(error)),
    );
    return () => {
      isCurrent = false;
    };
  }, [key, times, comeback]);
  useEffect(() => {
    if (!everyMilliseconds) return;
    const timer = setInterval(() => {
      if (!document.hidden) setTimes((n) => n + 1);
    }, everyMilliseconds);
    return () => clearInterval(timer);
  }, [everyMilliseconds]);
  return { value, problem, reload: () => setTimes((n) => n + 1) };
}

export interface Listed<T> {
  items: T[];
  isLoaded: boolean;
  problem: Problem | undefined;
  isBusy: boolean;
  /** Asks for the next page; undefined if there is none. */
  more: (() => void) | undefined;
  reload(): void;
}

/** A list that is read page by page. Its first page is read again, so that what is new comes first. */
export function useList<T extends { id: string }>(path: string, everyMilliseconds = 0): Listed<T> {
  const sign = path.includes("?") ? "&" : "?";
  const first = useLoaded(() => get<Page<T>>(path), path, everyMilliseconds);
  const [older, setOlder] = useState<{ path: string; page: Page<T> }>();
  const action = useAction();
  const page = older?.path === path ? older.page : undefined;
  const cursor = page ? page.next_cursor : first.value?.next_cursor;
  const more = () =>
    action.run(async () => {
      const next = await get<Page<T>>(`${path}${sign}cursor=${encodeURIComponent(cursor ?? "")}`);
      setOlder({ path, page: { ...next, items: [...(page?.items ?? []), ...next.items] } });
    });
  const newest = first.value?.items ?? [];
  const seen = new Set(newest.map((each) => each.id));
  return {
    items: [...newest, ...(page?.items ?? []).filter((each) => !seen.has(each.id))],
    isLoaded: first.value !== undefined,
    problem: first.problem ?? action.problem,
    isBusy: action.isBusy,
    more: cursor ? more : undefined,
    reload: () => {
      setOlder(undefined);
      first.reload();
    },
  };
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(-1, String(error));
}

/** What happens when a button is pressed: whether it is under way, and what went wrong. */
export function useAction(): {
  isBusy: boolean;
  problem: Problem | undefined;
  run(action: () => Promise<void>): void;
  clear(): void;
} {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  return {
    isBusy,
    problem,
    clear: () => setProblem(undefined),
    run(action) {
      setBusy(true);
      setProblem(undefined);
      action()
        .catch((error: unknown) => setProblem(asProblem(error)))
        .finally(() => setBusy(false));
    },
  };
}
