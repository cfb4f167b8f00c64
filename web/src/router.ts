// Addresses: /, /sign-in, /enrol#token, /shared#token, /library, /teach, /watch[/job[,job…]], /write[/model], /server[/part];
// api/http/page.py serves them.
import { store } from "./store";

export interface Place {
  view: string;
  id: string;
}

function read(): Place {
  const [view = "", id = ""] = location.pathname.split("/").slice(1);
  // A link that shares has its token in the fragment, which browsers send to nobody.
  if (view === "shared") return { view, id: location.hash.slice(1) };
  return { view, id };
}

export const place = store<Place>(read());

addEventListener("popstate", () => place.set(read()));
addEventListener("hashchange", () => place.set(read()));

export function go(path: string, replace = false): void {
  if (path !== location.pathname) {
    if (replace) history.replaceState(null, "", path);
    else history.pushState(null, "", path);
    scrollTo(0, 0);
  }
  place.set(read());
}

// Links stay links: only a plain click on one of ours is taken.
addEventListener("click", (event) => {
  const link = (event.target as Element).closest?.("a[data-view]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.pathname);
});
