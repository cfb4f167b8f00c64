// State that several views share: a value that tells its listeners when it changes.
import { useLayoutEffect, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  listen(listener: () => void): () => void;
}

export function store<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener();
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The value of a store; the component is drawn again when it changes. */
export function useStore<T>(from: Store<T>): T {
  const [, redraw] = useState(0);
  const drawn = from.get();
  useLayoutEffect(() => {
    const changed = () => redraw((n) => n + 1);
    if (!Object.is(from.get(), drawn)) changed(); // between drawing and listening
    return from.listen(changed);
  }, [from]);
  return drawn;
}

/** What a reload would lose, so that the browser asks before it. */
const unkept = new Set<string>();
addEventListener("beforeunload", (event) => {
  if (unkept.size) event.preventDefault();
});

/**
 * A state that outlives a reload of the tab. Nothing secret belongs in it: keys are never kept.
 */
export function useDraft<T>(name: string, initial: T): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => {
    const kept = sessionStorage.getItem(`draft ${name}`);
    try {
      return kept === null ? initial : (JSON.parse(kept) as T);
    } catch {
      return initial;
    }
  });
  const keep = (next: T) => {
    setValue(next);
    try {
      sessionStorage.setItem(`draft ${name}`, JSON.stringify(next));
      unkept.delete(name);
    } catch {
      // The storage is full, such as by a very long pasted text: the field alone keeps it.
      unkept.add(name);
    }
  };
  return [value, keep];
}

export function forgetDrafts(): void {
  unkept.clear();
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith("draft ")) sessionStorage.removeItem(name);
  }
}
