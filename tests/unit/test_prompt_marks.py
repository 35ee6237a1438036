"""Where the provider is asked to keep a prompt: at the end of what all prompts of a template share, if that is long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.rehearsal.prompt_cache import Kept, PromptCache
from ops.rehearsal.validation import Ask, Mark
from schemas.templates import TEMPLATES, Template
from streams.model.anthropic_model import _body
from streams.model.port import ModelPrompt
from streams.model.prices import cost_usd
from streams.model.prompt_marks import marked, minimum_cacheable_tokens, most_usage
from streams.model.prompting import prompt_of
from tests.builders import MODEL, a_request

LONG = "Write the configuration. " * 100
MARK = {"type": "ephemeral"}


def a_template(system: str, user: str) -> Template:
    return Template("long", 1, system, user, frozenset({"device"}))


def prompt_by(monkeypatch: pytest.MonkeyPatch, system: str, user: str, *, marks: bool = True) -> ModelPrompt:
    monkeypatch.setitem(TEMPLATES, "long@1", a_template(system, user))
    return prompt_of(a_request(template="long@1", variables={"device": "osl-01"}), MODEL, marks=marks)


def test_a_long_system_text_is_marked_and_sent_as_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _body(prompt_by(monkeypatch, LONG, "Device: $device"))
    assert body["system"] == [{"type": "text", "text": LONG, "cache_control": MARK}]
    assert body["messages"] == [{"role": "user", "content": "Device: osl-01"}]


def test_a_long_beginning_of_the_turn_is_marked_together_with_the_system_text(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _body(prompt_by(monkeypatch, "Be short.", f"{LONG}Device: $device"))
    fixed, rest = body["messages"][0]["content"]
    assert body["system"] == "Be short."
    assert fixed == {"type": "text", "text": f"{LONG}Device: ", "cache_control": MARK}
    assert rest == {"type": "text", "text": "osl-01"}


def test_what_is_short_or_not_to_be_marked_goes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _body(prompt_by(monkeypatch, "Be short.", "Device: $device"))["system"] == "Be short."
    assert _body(prompt_by(monkeypatch, LONG, "Device: $device", marks=False))["system"] == LONG


def test_the_shipped_templates_are_too_short_to_be_kept() -> None:
    for template in TEMPLATES.values():
        prompt = ModelPrompt(MODEL, 512, template.system, [{"role": "user", "content": template.user}], "r-1")
        assert marked(prompt, len(template.fixed_start)) is prompt


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-haiku-5-5", 512),
        ("claude-haiku-4-5-20251001", 4096),
        ("claude-opus-5", 512),
        ("claude-opus-4-8", 1024),
        ("claude-opus-50", None),
        ("claude-nobody-9", None),
    ],
)
def test_the_minimum_is_that_of_the_longest_listed_beginning(model: str, tokens: int | None) -> None:
    assert minimum_cacheable_tokens(model) == tokens


@given(system=st.text(max_size=3000), user=st.text(min_size=1, max_size=3000), fixed=st.integers(0, 3000))
def test_marks_change_no_character_of_a_prompt(system: str, user: str, fixed: int) -> None:
    prompt = ModelPrompt(MODEL, 512, system, [{"role": "user", "content": user}], "r-1")
    content = marked(prompt, min(fixed, len(user))).messages[0]["content"]
    assert (content if isinstance(content, str) else "".join(block["text"] for block in content)) == user


def test_a_callers_own_marks_go_as_they_came() -> None:
    blocks = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    prompt = prompt_of(a_request(messages=[{"role": "user", "content": blocks}]), MODEL)
    assert _body(prompt)["messages"][0]["content"] == blocks


@pytest.mark.parametrize("mark", [None, MARK, {"type": "ephemeral", "ttl": "1h"}])
def test_a_reservation_covers_a_prompt_that_is_written_as_a_whole(mark: dict[str, str] | None) -> None:
    block: dict[str, Any] = {"type": "text", "text": LONG}
    blocks = [block if mark is None else {**block, "cache_control": mark}]
    most = most_usage(ModelPrompt("claude-sonnet-5-5", 100, None, [{"role": "user", "content": blocks}], "r-1"))
    tokens = most.input_tokens + most.cache_write_tokens
    factor = {None: 1.0, "5m": 1.25, "1h": 2.0}[None if mark is None else mark.get("ttl", "5m")]
    expected = (tokens * 2 * factor + 100 * 10) / 1_000_000
    assert float(cost_usd("claude-sonnet-5-5", most) or 0) == pytest.approx(expected)


def an_ask(prompt: str, *marks: tuple[int, float]) -> Ask:
    return Ask(MODEL, 10, False, prompt, tuple(Mark(*mark) for mark in marks))


def test_a_kept_prompt_is_written_once_and_read_for_five_minutes_after_each_use() -> None:
    cache, ask = PromptCache(), an_ask("x" * 4000, (3600, 300.0))
    seen = []
    for now in (0.0, 299.0, 590.0, 900.0):
        seen.append(cache.look(ask, "key", now))
        cache.keep(ask, "key", now)
    assert seen == [Kept(0, 1000), Kept(1000), Kept(1000), Kept(0, 1000)]


def test_what_is_kept_is_kept_for_one_key_and_one_prefix() -> None:
    cache = PromptCache()
    cache.keep(an_ask("x" * 4000, (3600, 300.0)), "key", 0.0)
    assert cache.look(an_ask("x" * 4000, (3600, 300.0)), "another", 1.0) == Kept(0, 1000)
    assert cache.look(an_ask("y" * 4000, (3600, 300.0)), "key", 1.0) == Kept(0, 1000)
    assert cache.look(an_ask("x" * 3600 + "y", (3600, 300.0)), "key", 1.0) == Kept(1000)


def test_what_is_below_the_minimum_is_not_kept() -> None:
    cache, ask = PromptCache(), an_ask("x" * 4000, (1000, 300.0))
    cache.keep(ask, "key", 0.0)
    assert cache.look(ask, "key", 1.0) == Kept()


def test_only_what_goes_beyond_the_longest_kept_prefix_is_written() -> None:
    cache = PromptCache()
    cache.keep(an_ask("x" * 8000, (3600, 300.0)), "key", 0.0)
    assert cache.look(an_ask("x" * 8000, (3600, 300.0), (7200, 3600.0)), "key", 1.0) == Kept(1000, 1000, 1000)
