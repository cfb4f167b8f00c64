"""Who may see and change what. All access rules are in this package.

Another user's private resources return 404, exactly like missing ones, because the same
statement looks both up. An admin manages users, keys and devices, and sees no more of other
users' resources than anybody else, and neither does a group's teacher.
"""

from api.permissions.current_user import (
    CONFIRM,
    CurrentUser,
    check_key_again,
    current_user,
    may_enrol,
    may_manage_user,
    needs_admin,
    needs_confirming,
    presented_user,
    require_admin,
    require_scope,
    unauthenticated,
)
from api.permissions.finding import (
    Lock,
    Shareable,
    as_id,
    model_for_use,
    own,
    own_deleted,
    own_job,
    own_job_as_shown,
    own_text,
    read_model_ahead,
    visible,
    visible_checkpoint,
)
from api.permissions.visibility import (
    deleted_models,
    digests_of_visible,
    has_visibility,
    jobs_that_show_excerpts,
    may_see,
    may_show_excerpts,
    not_of_deleted_model,
    visibility_of,
    visible_to,
)
from api.permissions.waited_jobs import look_for_all, waited_job

__all__ = [
    "CONFIRM",
    "CurrentUser",
    "Lock",
    "Shareable",
    "as_id",
    "check_key_again",
    "current_user",
    "deleted_models",
    "digests_of_visible",
    "has_visibility",
    "jobs_that_show_excerpts",
    "look_for_all",
    "may_enrol",
    "may_manage_user",
    "may_see",
    "may_show_excerpts",
    "model_for_use",
    "needs_admin",
    "needs_confirming",
    "not_of_deleted_model",
    "own",
    "own_deleted",
    "own_job",
    "own_job_as_shown",
    "own_text",
    "presented_user",
    "read_model_ahead",
    "require_admin",
    "require_scope",
    "unauthenticated",
    "visibility_of",
    "visible",
    "visible_checkpoint",
    "visible_to",
    "waited_job",
]
