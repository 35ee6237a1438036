"""Which models are about to end: by the SDK's own dates, and what the doctor makes of them."""

from datetime import date, timedelta

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS

from ops.local.model_checks import SOON, model_checks, retirement_check
from streams.model.anthropic_catalogue import ListedModel, _day, known_retirements
from streams.settings import Settings

TODAY = date(2026, 11, 25)
NOWHERE = "http://127.0.0.1:9"


def a_check(**listed: ListedModel) -> tuple[bool, str]:
    found = retirement_check("models", listed, listed, TODAY, "by a test", "do")
    return found.ok, found.detail


def ends_in(days: int) -> ListedModel:
    return ListedModel(retired=False, retires_on=TODAY + timedelta(days=days))


@pytest.mark.parametrize(
    ("words", "day"),
    [
        ("November 30th, 2026", date(2026, 11, 30)),
        ("July 21st, 2025", date(2025, 7, 21)),
        ("March 2nd, 2027", date(2027, 3, 2)),
        ("August 3rd, 2027", date(2027, 8, 3)),
        ("some day", None),
        ("", None),
    ],
)
def test_the_sdks_words_are_read_as_days(words: str, day: date | None) -> None:
    assert _day(words) == day


def test_every_model_that_the_installed_sdk_calls_deprecated_has_its_last_day() -> None:
    assert known_retirements().keys() == DEPRECATED_MODELS.keys()


def test_a_model_that_ends_soon_has_ended_or_is_retired_must_be_replaced() -> None:
    assert a_check(one=ends_in(SOON.days)) == (False, "one ends on 2027-01-24 (by a test)")
    assert a_check(one=ends_in(-1)) == (False, "one was to end on 2026-11-24 (by a test)")
    assert a_check(one=ListedModel(retired=True, retires_on=None)) == (False, "one is retired (by a test)")
    assert a_check(one=ListedModel(retired=True, retires_on=TODAY)) == (
        False,
        "one was retired on 2026-11-25 (by a test)",
    )


def test_a_last_day_that_is_far_off_is_told_and_none_is_not() -> None:
    assert a_check(one=ends_in(SOON.days + 1)) == (True, "one ends on 2027-01-25 (by a test)")
    active = ListedModel(retired=False, retires_on=None)
    assert a_check(one=active, two=active) == (True, "2 in use, none is about to end (by a test)")


def test_the_default_model_and_every_stand_in_are_looked_at_without_a_network() -> None:
    given = {
        "clickhouse": NOWHERE,
        "default_model": "claude-haiku-5-5",
        "fallback_models": {"claude-opus-5-5": ["claude-sonnet-4-5"]},
    }
    (check,) = model_checks(Settings.model_validate(given), TODAY)
    assert (check.name, check.ok) == ("models set", False)
    assert check.detail == "claude-sonnet-4-5 ends on 2026-11-30 (by the installed SDK)"


def test_an_api_that_does_not_answer_leaves_the_sdks_dates_and_says_so() -> None:
    given = {"clickhouse": NOWHERE, "ANTHROPIC_API_KEY": "sk-secret", "ANTHROPIC_BASE_URL": NOWHERE}
    (check,) = model_checks(Settings.model_validate(given), TODAY)
    assert check.ok
    assert "the API does not answer: APIConnectionError" in check.detail
    assert "sk-secret" not in check.detail
