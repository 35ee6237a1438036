"""Which models the provider has, and until when: asked over its API, or as the SDK knows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

import anthropic
from anthropic.resources.messages.messages import DEPRECATED_MODELS

_MOST_LISTED: Final = 1000


class CatalogueUnavailable(Exception):  # noqa: N818 - says what is the case
    """The API's list of models cannot be read; the message is safe to show."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model. `retires_on` is the day from which calls of it may fail, where one is set."""

    retired: bool
    retires_on: date | None


def listed_models(api_key: str, base_url: str | None, timeout_seconds: float) -> dict[str, ListedModel]:
    """Every model by id, the retired ones included. Raises CatalogueUnavailable."""
    client = anthropic.Anthropic(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout_seconds)
    found: dict[str, ListedModel] = {}
    try:
        with client:
            for model in client.models.list(limit=100, lifecycle=["active", "deprecated", "retired"]):
                day = None if model.retires_at is None else model.retires_at.date()
                found[model.id] = ListedModel(model.lifecycle == "retired", day)
                if len(found) >= _MOST_LISTED:
                    break
    except anthropic.APIError as error:
        raise CatalogueUnavailable(type(error).__name__) from None
    return found


@lru_cache(maxsize=1)
def known_retirements() -> Mapping[str, date]:
    """The day on which each model ends that the installed SDK calls deprecated."""
    days = {model: _day(words) for model, words in DEPRECATED_MODELS.items()}
    return {model: day for model, day in days.items() if day is not None}


def _day(words: str) -> date | None:
    """`June 30th, 2026`; None for words of another form."""
    month, _, rest = words.partition(" ")
    number = rest.partition(",")[0].rstrip("stndrh")
    year = rest.rpartition(" ")[2]
    try:
        return datetime.strptime(f"{month} {number} {year}", "%B %d %Y").replace(tzinfo=UTC).date()
    except ValueError:
        return None
