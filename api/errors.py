"""What the API refuses, by name. Each is raised where it is known; problems.py words it once."""

from collections.abc import Mapping, Sequence

from api.schemas.replies import FieldError

#: When a seat of a listener may be free again.
LISTEN_AGAIN_SECONDS = 15


class Refusal(Exception):
    """A request that can't be done. The message says what, and the way out."""

    status = 400
    slug = "bad-request"
    title = "The request can't be understood"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


class BadJson(Refusal):
    """The body says that it is JSON, and is not."""

    slug, title = "bad-json", "The body is not JSON"


class NotSignedIn(Refusal):
    """No key, or none that is known."""

    status, slug, title = 401, "not-signed-in", "A key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="quire"'})


class Forbidden(Refusal):
    """Known who asks, and that they may not."""

    status, slug, title = 403, "forbidden", "Not yours to do"


class NotFound(Refusal):
    """There is nothing of that id that the caller may see; both cases read the same."""

    status, slug, title = 404, "not-found", "Not found"

    def __init__(self, what: str, id: str) -> None:
        super().__init__(f"there is no {what} {id[:100]!r} that you may see")


class NotAcceptable(Refusal):
    """The client accepts nothing that the API speaks."""

    status, slug, title = 406, "not-acceptable", "Nothing you accept can be sent"


class Conflict(Refusal):
    """The state of things is against it."""

    status, slug, title = 409, "conflict", "Not as things stand"


class StillNeeded(Refusal):
    """Something needs what was to be deleted."""

    status, slug, title = 409, "still-needed", "Something still needs it"


class NoCheckpointYet(Refusal):
    """A model that has learnt nothing yet can't write."""

    status, slug, title = 409, "no-checkpoint-yet", "The model has no checkpoint yet"


class KeyReused(Refusal):
    """One Idempotency-Key with two requests."""

    status, slug, title = 409, "idempotency-key-reused", "The key belongs to another request"


class TooLarge(Refusal):
    """More bytes than are taken."""

    status, slug, title = 413, "too-large", "Too large"


class UnsupportedMedia(Refusal):
    """A body of a type that is not taken here."""

    status, slug, title = 415, "unsupported-media-type", "Bodies of this type are not taken"


class Invalid(Refusal):
    """A field has a value that it may not have."""

    status, slug, title = 422, "invalid", "A field has a value it may not have"

    def __init__(self, field: str, value: object, message: str) -> None:
        error = FieldError(field=field, value=value, message=message)
        super().__init__(f"{field}: {message}", errors=[error])


class DoesNotFit(Invalid):
    """A training that no worker could run to its end."""

    slug, title = "does-not-fit", "The training does not fit"


class TooManyListeners(Refusal):
    """All threads that may hold a stream of events hold one."""

    status, slug, title = 503, "too-many-listeners", "Too many listen already"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} listeners is the most (QUIRE_MAX_LISTENERS): try again in a while, or poll "
            "the job",
            headers={"Retry-After": str(LISTEN_AGAIN_SECONDS)},
        )
