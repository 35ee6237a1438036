"""Settings of the gateway: what production refuses, and what an error does not show."""

import pytest
from pydantic import ValidationError

from ops.local.gateway import GatewayPlace
from streams.access_wiring import PepperUnsetError
from streams.gateway_wiring import MissingSecretError, build_gateway
from streams.settings import Settings


def test_a_secret_that_is_too_short_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"gateway_secret": "sh0rt"})
    assert "gateway_secret" in str(refused.value)
    assert "sh0rt" not in str(refused.value)


def test_production_takes_no_local_key_and_no_made_up_secret() -> None:
    with pytest.raises(ValidationError, match="headrace keys create"):
        Settings.model_validate({"gateway_key": "hr_0123456789abcdef", "environment": "production"})
    with pytest.raises(MissingSecretError, match="HEADRACE_GATEWAY_SECRET"):
        build_gateway(Settings.model_validate({"environment": "production"}), lambda _: None)


def test_production_checks_no_key_without_a_pepper() -> None:
    given = {"environment": "production", "gateway_secret": "a secret of sixteen"}
    with pytest.raises(PepperUnsetError, match="HEADRACE_KEY_PEPPER"):
        build_gateway(Settings.model_validate(given), lambda _: None)


def test_the_local_url_carries_the_key_as_a_password_and_the_address_does_not() -> None:
    place = GatewayPlace(8080, "hr_key", "a secret of sixteen")
    assert place.url == "http://key:hr_key@127.0.0.1:8080"
    assert "hr_key" not in place.address + place.readiness
    names = {name.removeprefix("HEADRACE_").lower() for name in place.environment()}
    assert names <= Settings.model_fields.keys()
