"""Settings of accounts: enrolments and the audit."""

from pydantic_settings import BaseSettings

from shared.setting_fields.define import setting


class AccountFields(BaseSettings):
    """How people get in, and how long it is known what they did."""

    enrolment_days: float = setting(
        "QUIRE_ENROLMENT_DAYS",
        "days for which a link of `quire user enrol` can be redeemed, unless it says otherwise",
        7.0,
        gt=0,
        le=366,
    )
    share_days: float = setting(
        "QUIRE_SHARE_DAYS",
        "days for which a link of `quire share` shows its job or text, unless it says otherwise",
        7.0,
        gt=0,
        le=366,
    )
    audit_days: int = setting(
        "QUIRE_AUDIT_DAYS",
        "days for which events of the audit are kept, and enrolments that have ended",
        365,
        ge=1,
        le=36_500,
    )
