// Requests to /v1, with the session's CSRF token, and what is known of the server.
import { store } from "../store";
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Session = Schemas["OwnSessionReply"];
export type Corpus = Schemas["CorpusReply"];
export type DryRun = Schemas["DryRunReply"];
export type Finding = Schemas["FindingReply"];
export type Job = Schemas["JobReply"];
export type Model = Schemas["ModelReply"];
export type Checkpoint = Schemas["CheckpointReply"];
export type Metric = Schemas["MetricReply"];
export type Text = Schemas["TextReply"];
export type TrainDryRun = Schemas["TrainDryRunReply"];
export type Device = Schemas["DeviceReply"];
export type Storage = Schemas["StorageReply"];
export type Announced = Schemas["CurrentAnnouncementReply"];
export type Queue = Schemas["QueueReply"];
export type Usage = Schemas["UsageReply"];
export type Cap = Schemas["CapReply"];
export type User = Schemas["UserReply"];
export type Key = Schemas["KeyReply"];
export type NewKey = Schemas["NewKeyReply"];
export type Group = Schemas["GroupReply"];
export type Member = Schemas["MemberReply"];
export type NewEnrolment = Schemas["NewEnrolmentReply"];
export type Enrolled = Schemas["EnrolledReply"];
export type AuditEvent = Schemas["AuditEventReply"];
export type Notification = Schemas["NotificationReply"];
export type Delivery = Schemas["DeliveryReply"];
export type NewSecret = Schemas["NewSecretReply"];
export type JobEvent = Schemas["EventReply"];
export type Share = Schemas["ShareReply"];
export type NewShare = Schemas["NewShareReply"];
export type Shared = Schemas["SharedReply"];
type ProblemReply = Schemas["Problem"];
export type Page<T> = { items: T[]; next_cursor: string | null };

/** An error that the API explains, or that nobody answered (`status` 0). */
export class Problem extends Error {
  readonly status: number;
  readonly fields: Record<string, string>;
  /** How long to wait before asking again; 0 if the API does not say. */
  readonly retrySeconds: number;
  /** What can be done about a text that is refused. */
  readonly ways: string[];

  constructor(
    status: number,
    detail: string,
    errors: { field: string; message: string }[] = [],
    retrySeconds = 0,
    ways: string[] = [],
  ) {
    super(detail);
    this.status = status;
    this.retrySeconds = retrySeconds;
    this.ways = ways;
    // `sample.temperatures[0]` is shown beside `sample`.
    this.fields = Object.fromEntries(
      errors.map((each) => [each.field.split(/[.[]/)[0] ?? "", each.message]),
    );
  }
}

/** Who is signed in; undefined while nobody knows yet. */
export const session = store<Session | null | undefined>(undefined);
/** Why the page was signed out, in the API's words. */
export const signedOutBecause = store("");
/** Whether the server answers. */
export const isAway = store(false);
/** Counts the times that the server came back: what was read before may be old. */
export const comebacks = store(0);

const ALIVE = "/health/live";
const RETRY_MILLISECONDS = 1500;

/** Send a request; an answer that is an error is thrown as a `Problem`. */
async function send(
  method: string,
  path: string,
  body?: unknown,
  more: Record<string, string> = {},
): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json", ...more };
  const isFile = body instanceof Blob;
  const isForm = body instanceof FormData;
  if (isFile) headers["Content-Type"] = "application/octet-stream";
  else if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  const csrf = session.get()?.csrf_token;
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) init.body = isForm || isFile ? body : JSON.stringify(body);
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    lost();
    throw new Problem(0, "");
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as ProblemReply | null;
  const detail = problem?.detail ?? response.statusText;
  if (response.status === 401 && session.get()) {
    signedOutBecause.set(detail);
    session.set(null);
  }
  const retrySeconds = Number(response.headers.get("Retry-After") ?? 0) || 0;
  throw new Problem(response.status, detail, problem?.errors ?? [], retrySeconds, problem?.ways);
}

export async function call<T>(
  method: string,
  path: string,
  body?: unknown,
  more: Record<string, string> = {},
): Promise<T> {
  const response = await send(method, path, body, more);
  return (response.status === 204 ? null : await response.json().catch(() => null)) as T;
}

/** The bytes of a file. */
export async function getFile(path: string): Promise<Blob> {
  const response = await send("GET", path);
  return response.blob().catch(() => {
    lost();
    throw new Problem(0, "");
  });
}

export const get = <T>(path: string) => call<T>("GET", path);
export const post = <T>(path: string, body?: unknown) => call<T>("POST", path, body);
export const patch = <T>(path: string, body: unknown) => call<T>("PATCH", path, body);
export const remove = (path: string) => call<null>("DELETE", path);

/** All items of a list, page by page, up to `most`. */
export async function everyItem<T>(path: string, most = 2000): Promise<T[]> {
  const items: T[] = [];
  const sign = path.includes("?") ? "&" : "?";
  let cursor = "";
  do {
    const after = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get<Page<T>>(`${path}${sign}limit=200${after}`);
    items.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor && items.length < most);
  return items;
}

export async function findSession(): Promise<void> {
  session.set(await get<Session | null>("/v1/session"));
}

export async function signIn(body: { key: string } | { link: string }): Promise<void> {
  session.set(await post<Session>("/v1/session", body));
  signedOutBecause.set("");
}

export async function signOut(): Promise<void> {
  await call("DELETE", "/v1/session");
  session.set(null);
}

/** Say that the server is away, and ask until it is back. */
export function lost(): void {
  if (isAway.get()) return;
  isAway.set(true);
  const ask = async () => {
    try {
      const response = await fetch(ALIVE, { cache: "no-store" });
      if (response.ok) {
        isAway.set(false);
        comebacks.set(comebacks.get() + 1);
        return;
      }
    } catch {
      // Still away.
    }
    setTimeout(ask, RETRY_MILLISECONDS);
  };
  setTimeout(ask, RETRY_MILLISECONDS);
}
