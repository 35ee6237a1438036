"""A template puts the given values in its holes, exactly, and refuses what does not fit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.templates import TEMPLATES, Template, TemplateError, template_named

CONFIG = template_named("network-config@1")
REVIEW = template_named("config-review@1")
filled = st.text(min_size=1, max_size=80).filter(lambda text: bool(text.strip()))


@settings(max_examples=80, deadline=None)
@given(filled, filled, filled)
def test_values_appear_exactly_as_given(device: str, wish: str, context: str) -> None:
    prompt = CONFIG.render({"device_name": device, "requirements": wish, "user_context": context})
    assert prompt.user == f"Device: {device}\nContext: {context}\n\nRequirements:\n{wish}\n"
    assert prompt.system == CONFIG.system


@pytest.mark.parametrize(
    "value", ["$config", "${config}", "$$", "enable secret 5 $1$mERr$hx5rVt7", "$", "{config}", "%s"]
)
def test_a_value_is_never_itself_substituted(value: str) -> None:
    assert REVIEW.render({"config": value}).user == f"Configuration to review:\n{value}\n"


def test_an_optional_variable_may_be_left_out() -> None:
    assert "Context: none\n" in CONFIG.render({"device_name": "a", "requirements": "b"}).user


@pytest.mark.parametrize("variables", [{}, {"device_name": "a"}, {"device_name": " \n", "requirements": "b"}])
def test_a_missing_or_blank_variable_is_refused_by_name(variables: dict[str, str]) -> None:
    with pytest.raises(TemplateError) as refusal:
        CONFIG.render(variables)
    assert refusal.value.code == "missing_variable"
    assert "network-config@1 needs" in str(refusal.value)


def test_an_unknown_variable_is_refused_without_repeating_it() -> None:
    with pytest.raises(TemplateError) as refusal:
        REVIEW.render({"config": "x", "zanzibar": "y"})
    assert refusal.value.code == "unknown_variable"
    assert "zanzibar" not in str(refusal.value)


def test_an_unknown_template_is_refused_with_the_known_names() -> None:
    with pytest.raises(TemplateError, match="config-review@1, network-config@1") as refusal:
        template_named("network-config@2")
    assert refusal.value.code == "unknown_template"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_every_hole_has_a_variable_and_every_variable_a_hole(template: Template) -> None:
    variables = template.required | template.optional
    assert template.identity <= variables
    marked = template.render({name: f"<{name}>" for name in variables})
    assert all(f"<{name}>" in marked.user for name in variables)
    assert "$" not in marked.user
