"""Requirements that differ only in what has no meaning are one question; whatever may have one keeps them apart."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.canonical import canonical_requirements, even_spacing, fold_keywords, sort_vlan_lists
from schemas.fingerprint import fingerprint_of
from tests.unit.events import a_request

words = st.sampled_from(
    re.findall(
        r"\S+",
        """VLANs VLAN vlans 10 20 4094 , and & - * ( ) users Users ACL permit deny no Not NTP server 10.1.0.10 on with
        as . ; Gi1/0/1 name vrf RED Management " ' respectively first / : IP""",
    )
)
texts = st.lists(st.tuples(words, st.sampled_from([" ", "  ", "\n", "\t", "", "\r\n", "\n  "])), max_size=24).map(
    lambda parts: "".join(word + gap for word, gap in parts)
) | st.text(max_size=60)
vlans = st.lists(st.integers(1, 4094), min_size=2, max_size=8, unique=True)
rules = [even_spacing, fold_keywords, sort_vlan_lists, canonical_requirements]


def one(first: str, second: str) -> bool:
    """Whether the two are the same question to the template."""
    asked = [
        a_request(template="network-config@1", variables={"device_name": "osl-01-acc-03", "requirements": text})
        for text in (first, second)
    ]
    return fingerprint_of(asked[0], "m") == fingerprint_of(asked[1], "m")


@pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.__name__)
@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_every_rule_is_safe_to_repeat(rule: object, text: str) -> None:
    assert callable(rule)
    assert rule(rule(text)) == rule(text)


@settings(max_examples=80, deadline=None)
@given(vlans, st.randoms(), st.sampled_from([", ", ",", " and ", " & "]), st.sampled_from(["VLANs ", "vlans: "]))
def test_the_order_of_vlans_does_not_matter(numbers: list[int], random: object, separator: str, head: str) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert one("VLANs " + ", ".join(map(str, numbers)), head + separator.join(map(str, shuffled)))


@settings(max_examples=80, deadline=None)
@given(vlans, st.data())
def test_a_changed_number_is_a_changed_question(numbers: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(numbers) - 1))
    other = data.draw(st.integers(1, 4094))
    assume(other not in numbers)
    changed = [*numbers[:place], other, *numbers[place + 1 :]]
    for wish in ("VLANs {}", "Allow VLANs {} on Gi1/0/1", "VLAN {}", "BGP AS {}"):
        assert not one(wish.format(", ".join(map(str, numbers))), wish.format(", ".join(map(str, changed))))
    assert not one(f"VLANs {', '.join(map(str, numbers))}", f"VLANs {', '.join(map(str, numbers[1:]))}")


@settings(max_examples=80, deadline=None)
@given(texts)
def test_what_remains_has_every_number_as_often_as_before(text: str) -> None:
    digits = [character for character in text if character.isdigit()]
    assert sorted(character for character in canonical_requirements(text) if character.isdigit()) == sorted(digits)


@settings(max_examples=80, deadline=None)
@given(texts)
def test_nothing_but_case_spacing_separators_and_bullets_changes(text: str) -> None:
    def letters(of: str) -> list[str]:
        return sorted(
            character for character in of.casefold().replace("and", "").replace(":", "") if character.isalpha()
        )

    assert letters(canonical_requirements(text)) == letters(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("VLANs 10, 20, 30", "vlans 30,20,10"),
        ("VLANs 10, 20 and 30 on Gi1/0/1", "Vlans 30, 10, 20 on Gi1/0/1"),
        ("- NTP server 10.1.0.10\n- VLANs 20, 10", "*  ntp Server 10.1.0.10\r\n\r\n* VLANs 10, 20  \n"),
        ("  SSH only", "ssh only"),
        ("Permit SSH, not Telnet", "permit ssh, NOT telnet"),
    ],
)
def test_the_same_wish_in_other_clothes_is_one_question(first: str, second: str) -> None:
    assert one(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("permit Telnet", "deny Telnet"),
        ("Telnet is allowed", "Telnet is not allowed"),
        ("enable STP", "disable STP"),
        ("vrf RED", "vrf red"),
        ("vrf Management", "vrf management"),
        ("ACL Access permits SSH", "ACL access permits SSH"),
        ("VLAN 10 (Users)", "VLAN 10 (users)"),
        ("VLAN 10 Management", "VLAN 10 management"),
        ("SNMP community Server", "SNMP community server"),
        ('banner "Use  it"', 'banner "Use it"'),
        ("VLANs 10, 20 for users, voice", "VLANs 20, 10 for users, voice"),
        ("VLANs 10, 20 with gateways 10.0.0.1, 10.0.0.2", "VLANs 20, 10 with gateways 10.0.0.1, 10.0.0.2"),
        ("VLANs 10, 20\nCalled: users, voice", "VLANs 20, 10\nCalled: users, voice"),
        ("VLANs 10, 20. The first is native", "VLANs 20, 10. The first is native"),
        ("VLANs 10, 20 ports", "VLANs 20, 10 ports"),
        ("Put it in VLAN 10, 20 ports", "Put it in VLAN 20, 10 ports"),
        ("DNS servers 10.0.0.1, 10.0.0.2", "DNS servers 10.0.0.2, 10.0.0.1"),
        ("permit 10.0.0.1\ndeny any", "deny any\npermit 10.0.0.1"),
        ("region NO", "region no"),
        ("AS 64512", "AS 64513"),
    ],
)
def test_what_may_mean_something_else_is_another_question(first: str, second: str) -> None:
    assert not one(first, second)


def test_only_what_a_template_calls_canonical_is_treated_so() -> None:
    reviews = [a_request(template="config-review@1", variables={"config": config}) for config in ("VLAN 10", "vlan 10")]
    assert fingerprint_of(reviews[0], "m") != fingerprint_of(reviews[1], "m")
