"""One answer for a fleet: names are exchanged exactly, or not at all."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.distinctive import is_distinctive
from schemas.fingerprint import identify
from schemas.result import Answer
from schemas.validation import Validation
from streams.admission import Work
from streams.cache.stored_answer import EVERYONE, NOBODY_ELSE, CacheEntry
from streams.sharing import (
    cache_key_for,
    cache_keys_of,
    entry_for,
    is_exchangeable,
    is_outdated,
    request_keys_of,
    served,
)
from tests.builders import A_TIME, a_request, a_stored_answer, an_id, some_work

WISHES = "VLAN 110 (users) on GigabitEthernet1/0/1"
names = st.from_regex(r"[a-z]{2,4}-[0-9]{2}-[a-z]{2,4}-[0-9]{1,3}", fullmatch=True)


def configuration(name: str) -> str:
    return f"hostname {name}\nvlan 110\ninterface GigabitEthernet1/0/1\n description {name} users\n"


def asking(name: str = "osl-01-acc-03", wishes: str = WISHES, number: int = 1, **given: Any) -> Work:
    request = a_request(
        template="network-config@1",
        variables={"device_name": name, "requirements": wishes},
        request_id=an_id(number),
        accepted_at=A_TIME,
        **given,
    )
    return some_work(request)


def paid_by(work: Work, text: str, **given: Any) -> CacheEntry:
    fields = {"answer": Answer(text=text, stop_reason="end_turn"), "paid_by": work.request.request_id, **given}
    return entry_for(work, a_stored_answer(**fields))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("osl-01-acc-03", True),
        ("SW0001", True),
        ("core.router", True),
        ("router", False),
        ("sw-01", False),
        ("1234567", False),
        ("10.1.0.10", False),
        ("sw 00001", False),
        ('sw"00001', False),
        ("osl-01-åcc", False),
        ("-osl-01-", False),
        ("", False),
    ],
)
def test_a_distinctive_value_is_long_safe_and_no_plain_word(value: str, expected: bool) -> None:
    assert is_distinctive(value) is expected


@settings(max_examples=60, deadline=None)
@given(names, names)
def test_devices_with_the_same_wishes_have_one_fingerprint_and_an_own_one_each(first: str, second: str) -> None:
    assume(first != second)
    ours, theirs = asking(first), asking(second)
    assert ours.fingerprint == theirs.fingerprint
    assert len({ours.fingerprint, ours.own, theirs.own}) == 3
    assert (ours.left_out, theirs.left_out) == ((first,), (second,))


@pytest.mark.parametrize(
    "name", ["router", "sw1", "GigabitEthernet1", "Loopback0", "Vlan110", "spanning-tree", "access-list", "sha256"]
)
def test_a_name_that_could_be_another_word_stays_in_the_fingerprint(name: str) -> None:
    work = asking(name)
    assert (work.left_out, work.own) == ((), work.fingerprint)


@pytest.mark.parametrize("wishes", ["Uplink to OSL-01-ACC-03", "Name osl-01-acc-03b beside it"])
def test_a_name_that_the_wishes_hold_too_stays_in_the_fingerprint(wishes: str) -> None:
    assert asking("osl-01-acc-03", wishes).left_out == ()


@settings(max_examples=80, deadline=None)
@given(names, names, st.text(max_size=30))
def test_an_answer_for_one_device_is_exactly_the_answer_for_another(first: str, second: str, around: str) -> None:
    text = configuration("{}") + "!" + around.replace("{", "").replace("}", "")
    ours, theirs = asking(first), asking(second, number=2)
    entry = paid_by(ours, text.replace("{}", first))
    assume(entry.audience == EVERYONE)
    again = CacheEntry.from_bytes(entry.to_bytes())
    assert again == entry
    assert again.filled(theirs.left_out).answer().text == text.replace("{}", second)
    assert again.filled(ours.left_out).stored().answer.text == text.replace("{}", first)
    assert first.encode() not in entry.shared.replace(around.encode(errors="replace"), b"")


@settings(max_examples=60, deadline=None)
@given(names, st.text(alphabet='ab\\"\n\t\0\x01\u2028é0-', max_size=12), st.text(alphabet="\\nu0-\n ", max_size=6))
def test_what_stands_around_a_name_survives_as_it_was(name: str, before: str, after: str) -> None:
    work = asking(name)
    stored = a_stored_answer(answer=Answer(text=f"{before} {name} {after}"))
    entry = CacheEntry.of(stored, EVERYONE, work.left_out)
    assert CacheEntry.from_bytes(entry.to_bytes()).filled(work.left_out).stored().answer == stored.answer


@pytest.mark.parametrize(
    "text",
    [
        "vlan 110",
        "hostname OSL-01-ACC-03",
        "hostname osl-01-acc-03\ndescription OSL-01-ACC-03",
        "hostname osl-01-acc-03\nip domain-name osl-01-acc-03.meridian.net",
        "hostname osl-01-acc-03\ndescription osl-01-acc-03b",
        "hostname osl-01-acc-03\ndescription b-osl-01-acc-03",
        "hostname osl-01-acc-03\ndescription osl_01_acc_03",
        "hostname osl-01-acc-03\ndescription osl01acc03",
        "hostname osl-01-acc-03\nsnmp-server location osl-01",
        "hostname osl-01-acc-03\nsnmp-server location OSL",
        "hostname osl-01-acc-03\ndescription acc-03",
        "https://osl-01-acc-03/",
    ],
)
def test_an_answer_that_holds_the_name_in_any_other_form_is_not_shared(text: str) -> None:
    work = asking()
    assert not is_exchangeable(work, Answer(text=text))
    entry = paid_by(work, text)
    assert entry.audience == work.own
    assert cache_key_for(work, entry) == cache_keys_of(work)[1]
    assert served(asking("bgo-02-acc-01", number=2), entry) is None


@pytest.mark.parametrize("text", ["hostname osl-01-acc-03", "It is osl-01-acc-03.", "(osl-01-acc-03), osl-01-acc-03"])
def test_an_answer_that_holds_it_whole_wherever_it_stands_is_shared(text: str) -> None:
    assert is_exchangeable(asking(), Answer(text=text))


def test_a_part_of_the_name_that_the_wishes_hold_as_well_may_stand_in_the_answer() -> None:
    work = asking(wishes="SNMP location osl")
    assert is_exchangeable(work, Answer(text="hostname osl-01-acc-03\nsnmp-server location osl"))


def test_another_device_gets_only_what_its_own_check_accepts() -> None:
    ours, theirs = asking(), asking("bgo-02-acc-01", number=2)
    good = paid_by(ours, configuration("osl-01-acc-03"))
    filled = served(theirs, good)
    assert filled is not None
    assert filled.answer().text == configuration("bgo-02-acc-01")
    lacking = paid_by(ours, "hostname osl-01-acc-03\nvlan 999")
    assert served(theirs, lacking) is None


def test_an_answer_that_its_check_refused_is_its_payers_alone() -> None:
    ours = asking()
    refused = Validation(validator="network-config", version=1, valid=False, problems=["VLAN 110 is missing"])
    entry = paid_by(ours, configuration("osl-01-acc-03"), validation=refused)
    assert (entry.audience, cache_key_for(ours, entry)) == (NOBODY_ELSE, None)
    assert served(asking(number=2), entry) is None
    mine = served(ours, entry)
    assert mine is not None
    assert mine.stored().validation == refused


def test_an_answer_checked_by_older_rules_is_checked_again() -> None:
    ours, again = asking("router"), asking("router", number=2)
    entry = paid_by(ours, configuration("router"))._replace(checked="network-config@0")
    assert served(again, entry) is not None
    bad = paid_by(ours, "hostname router")._replace(checked="network-config@0")
    assert served(again, bad) is None
    assert served(again, bad._replace(checked="network-config@1")) is not None


def test_no_key_of_one_request_is_another_ones_own() -> None:
    ours, theirs, plain = asking(), asking("bgo-02-acc-01", number=2), some_work(a_request(request_id=an_id(3)))
    assert request_keys_of(ours)[:2] == request_keys_of(theirs)[:2]
    assert len({*request_keys_of(ours), *request_keys_of(theirs), *request_keys_of(plain)}) == 4 + 2 + 3
    assert all(key.startswith("meridian:") for key in request_keys_of(ours))
    assert request_keys_of(asking(cache={"mode": "bypass"})) == request_keys_of(ours)[3:]


def test_an_invalidation_does_not_reach_what_a_request_paid_for() -> None:
    entry = paid_by(asking(), configuration("osl-01-acc-03"))
    since = entry.asked_at_ms + 1
    assert is_outdated(asking(number=2)._replace(fresh_since_ms=since), entry)
    assert not is_outdated(asking(number=2)._replace(fresh_since_ms=entry.asked_at_ms), entry)
    assert not is_outdated(asking()._replace(fresh_since_ms=since), entry)


def test_a_stored_answer_for_a_fleet_names_no_device() -> None:
    entry = paid_by(asking(), configuration("osl-01-acc-03"))
    assert b"osl-01" not in entry.to_bytes()
    with pytest.raises(ValueError, match="control character"):
        json.loads(entry.shared)


def test_wishes_that_differ_in_a_number_share_nothing() -> None:
    ours, theirs = asking(), asking("bgo-02-acc-01", WISHES.replace("110", "111"))
    assert identify(ours.request, "m").fingerprint != identify(theirs.request, "m").fingerprint
