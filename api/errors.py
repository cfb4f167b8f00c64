"""The API's errors. error_handlers.py turns them into responses."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from api.schemas.replies import FieldError

#: When another event stream may have closed.
STREAM_RETRY_SECONDS = 15
DOWNLOAD_RETRY_SECONDS = 5
#: When the server may have finished an upload.
UPLOAD_RETRY_SECONDS = 2


class ApiError(Exception):
    """A request that the API refuses. The detail says what is wrong and what to do about it."""

    status = 400
    slug = "bad-request"
    title = "Malformed request"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        ways: Sequence[str] = (),
    ) -> None:
        self.detail = detail
        self.code = code
        self.ways = list(ways)
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


class BadJson(ApiError):
    """The body is declared as JSON but does not parse."""

    slug, title = "bad-json", "The request body is not valid JSON"


INVALID_KEY = "the API key is unknown or revoked, or its owner is disabled. Ask an admin"
CHALLENGE = 'Bearer realm="quire"'
SESSION_ENDED = (
    "you are no longer signed in: the session has ended or expired, or its key is not valid any "
    "more. Sign in again"
)


class Unauthenticated(ApiError):
    """The request has no API key, or an unknown one."""

    status, slug, title = 401, "not-signed-in", "API key required"

    def __init__(self, detail: str, challenge: str = CHALLENGE) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class KeyExpired(Unauthenticated):
    """The API key was valid until it expired."""

    slug, title = "key-expired", "The API key has expired"

    def __init__(self, expired_at: datetime) -> None:
        super().__init__(
            f"the API key expired at {expired_at:%Y-%m-%dT%H:%M:%SZ}: sign in with another one, or "
            "ask an admin for one",
            f'{CHALLENGE}, error="invalid_token", error_description="the key has expired"',
        )


class Forbidden(ApiError):
    """The user is known and lacks the permission."""

    status, slug, title = 403, "forbidden", "Permission denied"


class MissingScope(ApiError):
    """The key's user has the permission, but the key lacks the scope."""

    status, slug, title = 403, "missing-scope", "The API key lacks a scope"

    def __init__(self, needed: str, prefix: str, scopes: Sequence[str]) -> None:
        has = ", ".join(f"`{scope}`" for scope in scopes) or "none"
        super().__init__(
            f"this needs a key with the scope `{needed}`, and the scopes of the key {prefix} are: "
            f"{has}. Use another key, or make one that has it: `quire key add --scope {needed}`",
            headers={
                "WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{needed}"'
            },
        )


class EnrolmentUnknown(ApiError):
    """No enrolment has the token."""

    status, slug, title = 404, "enrolment-unknown", "Unknown enrolment link"


class EnrolmentUsed(ApiError):
    """The enrolment was redeemed before."""

    status, slug, title = 410, "enrolment-used", "The enrolment link was used"


class EnrolmentExpired(ApiError):
    """The enrolment was not redeemed in time."""

    status, slug, title = 410, "enrolment-expired", "The enrolment link has expired"


class EnrolmentRevoked(ApiError):
    """The enrolment was revoked."""

    status, slug, title = 410, "enrolment-revoked", "The enrolment link was revoked"


class ShareLinkUnknown(ApiError):
    """No share link has this token now. Which of the reasons it is, is not told."""

    status, slug, title = 404, "share-link-unknown", "Unknown share link"

    def __init__(self) -> None:
        super().__init__(
            "this link was revoked, has expired, or never was. Ask whoever sent it for another one"
        )


class NotFound(ApiError):
    """The resource does not exist, or the user may not see it. Both cases read the same."""

    status, slug, title = 404, "not-found", "Not found"

    def __init__(self, resource: str, id: str) -> None:
        super().__init__(f"{resource} {id[:100]!r} does not exist, or you may not see it")


class NotAcceptable(ApiError):
    """The client accepts none of the media types that the API sends."""

    status, slug, title = 406, "not-acceptable", "No acceptable media type"


class Conflict(ApiError):
    """The current state of the resource does not allow the request."""

    status, slug, title = 409, "conflict", "Conflict with the current state"


class ResourceInUse(ApiError):
    """The resource can't be deleted because others depend on it."""

    status, slug, title = 409, "still-needed", "The resource is still in use"


class NoCheckpointYet(ApiError):
    """The model can't write because its training has stored no checkpoint."""

    status, slug, title = 409, "no-checkpoint-yet", "The model has no checkpoint yet"


class KeyReused(ApiError):
    """The Idempotency-Key came with a different request before."""

    status, slug, title = 409, "idempotency-key-reused", "Idempotency key used by another request"


class TooLarge(ApiError):
    """The upload has more bytes than the server accepts."""

    status, slug, title = 413, "too-large", "Upload too large"


class UnsupportedMedia(ApiError):
    """The body has a media type that the endpoint does not accept."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class Invalid(ApiError):
    """A field has an invalid value."""

    status, slug, title = 422, "invalid", "Invalid request"

    def __init__(
        self,
        field: str,
        value: object,
        message: str,
        *,
        code: str | None = None,
        ways: Sequence[str] = (),
    ) -> None:
        error = FieldError(field=field, value=value, message=message)
        super().__init__(f"{field}: {message}", errors=[error], code=code, ways=ways)


class DoesNotFit(Invalid):
    """The training needs more memory or time than any worker has."""

    slug, title = "does-not-fit", "The training does not fit on a worker"


class TooManyDownloads(ApiError):
    """Every download seat is taken."""

    status, slug, title = 503, "too-many-downloads", "Too many downloads"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the server sends {limit} files at once, the maximum (QUIRE_DOWNLOAD_SLOTS). "
            "Try again later",
            headers={"Retry-After": str(DOWNLOAD_RETRY_SECONDS)},
        )


class NetworkTooLarge(Invalid):
    """No worker has the memory to load the network."""

    slug, title = "does-not-fit", "The network does not fit on a worker"


class TooManyRequests(ApiError):
    """The user has used up the requests of the last minute."""

    status, slug, title = 429, "too-many-requests", "Too many requests"

    def __init__(self, what: str, per_minute: int, wait_seconds: int) -> None:
        super().__init__(
            f"you may send {per_minute:,} {what} in a minute. Send it again in {wait_seconds} s "
            "(Retry-After)",
            headers={"Retry-After": str(wait_seconds)},
        )


class TooManyUploads(ApiError):
    """The memory for uploads is taken."""

    status, slug, title = 503, "too-many-uploads", "Too many uploads at the same time"

    def __init__(self) -> None:
        super().__init__(
            "the server works on as many uploads as its memory for them allows "
            "(QUIRE_UPLOAD_MEMORY_BYTES). Try again in a moment",
            headers={"Retry-After": str(UPLOAD_RETRY_SECONDS)},
        )


class DiskFull(ApiError):
    """The disk has too little room for an upload."""

    status, slug, title = 507, "disk-low", "Too little free disk"


class TooManyEventStreams(ApiError):
    """Every thread that may serve an event stream is taken."""

    status, slug, title = 503, "too-many-listeners", "Too many open event streams"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the server has {limit} open, the maximum (QUIRE_MAX_LISTENERS). Try again later, "
            "or poll the job",
            headers={"Retry-After": str(STREAM_RETRY_SECONDS)},
        )
