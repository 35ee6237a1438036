"""Whether the models in use go on: those that are set, and those that were asked for lately."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

from ops.cost.analysts import AnalystsUnavailableError, analysts
from ops.local.checks import Check
from streams.endpoint_settings import EndpointKeyError
from streams.model.anthropic_catalogue import CatalogueUnavailable, ListedModel, known_retirements, listed_models
from streams.settings import Settings

SOON: Final = timedelta(days=60)
"""A model that ends within it is to be replaced now; one that ends later is mentioned."""
_ASK_SECONDS: Final = 5.0
_MOST_SEEN: Final = 50
_SEEN: Final = """
    SELECT model FROM results WHERE completed_at > now() - INTERVAL 1 DAY AND model != ''
    GROUP BY model ORDER BY count() DESC LIMIT {most:UInt32}
"""
_NEXT: Final = {
    "set": "set HEADRACE_DEFAULT_MODEL or HEADRACE_FALLBACK_MODELS to a model that stays",
    "seen": "headrace cost report --by application --since 1d, then tell who asks for it",
}


def model_checks(settings: Settings, today: date | None = None) -> Iterator[Check]:
    """One check of the models that are set, one of those seen in the last day where ClickHouse answers."""
    today = today or datetime.now(UTC).date()
    listed, source = _listed(settings)
    set_models = dict.fromkeys(_set_models(settings))
    yield retirement_check("models set", set_models, listed, today, source, _NEXT["set"])
    seen = _seen_models(settings)
    if seen is not None:
        others = [model for model in seen if model not in set_models]
        yield retirement_check("models seen", others, listed, today, source, _NEXT["seen"])


def retirement_check(
    name: str, models: Iterable[str], listed: Mapping[str, ListedModel], today: date, source: str, fix: str
) -> Check:
    """Fails where a model has ended or ends soon; says of the others that have a last day when that is."""
    told: list[str] = []
    ok, count = True, 0
    for count, model in enumerate(models, 1):  # noqa: B007 - the last one counts them
        known = listed.get(model)
        if known is None or (known.retires_on is None and not known.retired):
            continue
        ok = ok and not (known.retired or (known.retires_on is not None and known.retires_on - today <= SOON))
        told.append(f"{model} {_end(known, today)}")
    summary = "; ".join(told) or f"{count} in use, none is about to end"
    return Check(name, ok, f"{summary} ({source})", fix)


def _end(known: ListedModel, today: date) -> str:
    if known.retires_on is None:
        return "is retired"
    gone = known.retired or known.retires_on <= today
    return f"{'was to end' if gone and not known.retired else 'was retired' if gone else 'ends'} on {known.retires_on}"


def _listed(settings: Settings) -> tuple[Mapping[str, ListedModel], str]:
    by_sdk = {model: ListedModel(retired=False, retires_on=day) for model, day in known_retirements().items()}
    try:
        if settings.model_endpoints:
            first = settings.model_endpoints[0]
            return listed_models(first.key(), first.base_url, _ASK_SECONDS), f"by the API of endpoint {first.name}"
        if settings.model_key is not None:
            key = settings.model_key.get_secret_value()
            return listed_models(key, settings.model_url, _ASK_SECONDS), "by the API"
    except CatalogueUnavailable as error:
        return by_sdk, f"by the installed SDK; the API does not answer: {error}"
    except EndpointKeyError as error:
        return by_sdk, f"by the installed SDK; {error}"
    return by_sdk, "by the installed SDK"


def _set_models(settings: Settings) -> Iterator[str]:
    yield settings.default_model
    for rules in (settings.fallback_models, *settings.tenant_fallback_models.values()):
        for model, stand_ins in rules.items():
            yield from (model, *stand_ins)


def _seen_models(settings: Settings) -> list[str] | None:
    """By how often each answered in the last day; None where ClickHouse does not answer."""
    try:
        with analysts(settings) as client:
            return [str(row[0]) for row in client.query(_SEEN, parameters={"most": _MOST_SEEN}).result_rows]
    except AnalystsUnavailableError:
        return None
