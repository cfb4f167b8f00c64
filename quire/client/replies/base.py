"""What all replies have in common, and errors. Fields that a newer server adds are kept."""

from typing import Any

from pydantic import BaseModel, ConfigDict

#: The final statuses of a job.
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Reply(BaseModel):
    """The base of every reply."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_json(self) -> dict[str, Any]:
        """Return the fields that the server sent, ready for `json.dumps`."""
        return self.model_dump(mode="json", exclude_unset=True)


class FieldError(Reply):
    """An invalid field of a request."""

    field: str = ""
    value: Any = None
    message: str = ""


class Problem(Reply):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str = "Error"
    status: int | None = None
    detail: str = ""
    errors: list[FieldError] = []
    code: str | None = None
    ways: list[str] = []

    def line(self) -> str:
        """Return the problem as one readable line."""
        messages = [
            f"{error.field}: {error.message}" if error.field else error.message
            for error in self.errors
            if error.message and error.message not in self.detail
        ]
        text = "; ".join(part.strip() for part in [self.detail, *messages] if part.strip())
        whole = f"{self.title}: {text}" if text else self.title
        return " ".join(whole.split())
