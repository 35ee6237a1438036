"""Whether a text is a configuration in IOS syntax for this device, with each VLAN and interface that was asked for.

It looks for what is missing or misplaced, not for what a network engineer would do better. Requirements are free text:
where a line says that something is not wanted, nothing is looked for.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

VERSION: Final = 1
_VLAN_IDS: Final = range(1, 4095)

_HOSTNAME: Final = re.compile(r"^hostname[ ]+(\S+)[ ]*$", re.MULTILINE)
_BANNER: Final = re.compile(r"^banner[ ]+\w+[ ]+(\^C|\S)(.*?)\1", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"[a-z0-9!][\w.:/-]*!?(?:[ ]|$)|!")
_UNWANTED: Final = re.compile(
    r"\b(?:no|not|without|remove|removed|delete|except|never|unused|avoid|don't|instead)\b", re.IGNORECASE
)
_LIST: Final = r"(?P<list>\d{1,4}(?:\s*-\s*\d{1,4})?(?:\s*(?:,\s*and|,|and|&)\s*\d{1,4}(?:\s*-\s*\d{1,4})?)*)"
_VLANS_ASKED: Final = re.compile(rf"\bvlans?\s*:?\s*{_LIST}(?![\w./])", re.IGNORECASE)
_VLANS_SET: Final = re.compile(
    rf"\b(?:vlan(?: add)?|interface vlan|dot1q|switchport voice vlan)[ ]?{_LIST}(?![\w./])", re.IGNORECASE
)
_RANGE: Final = re.compile(r"(\d{1,4})(?:\s*-\s*(\d{1,4}))?")

_KINDS: Final = {"gi": "gi", "te": "te", "fa": "fa", "et": "eth", "lo": "lo", "po": "po"}
_INTERFACE_NAME: Final = (
    r"(?P<kind>GigabitEthernet|TenGigabitEthernet|FastEthernet|Ethernet|Gi|Te|Fa|Eth|Loopback|Lo|Port-channel|Po)"
    r"[ ]?(?P<place>\d+(?:/\d+){0,3})"
)
_ASKED: Final = re.compile(rf"\b{_INTERFACE_NAME}(?![\w/])", re.IGNORECASE)
_SET: Final = re.compile(r"^interface[ ]+(?:range[ ]+)?(?P<names>.+?)[ ]*$", re.MULTILINE | re.IGNORECASE)
_SPAN: Final = re.compile(rf"{_INTERFACE_NAME}(?:[ ]*-[ ]*(?P<last>\d+))?", re.IGNORECASE)


class _Wishes(NamedTuple):
    vlans: frozenset[int]
    interfaces: tuple[tuple[str, str], ...]


def problems(variables: Mapping[str, str], text: str) -> list[str]:
    """What is wrong with `text` as the answer to these variables, the gravest first."""
    wishes = _wishes_in(variables.get("requirements", ""))
    return [
        *_wrong_form(text),
        *_wrong_device(variables.get("device_name", ""), text),
        *_missing_vlans(wishes, text),
        *_missing_interfaces(wishes, text),
    ]


@lru_cache(maxsize=512)
def _wishes_in(requirements: str) -> _Wishes:
    asked = "\n".join(line for line in requirements.splitlines() if not _UNWANTED.search(line))
    interfaces = dict.fromkeys((_kind(found), found["place"]) for found in _ASKED.finditer(asked))
    return _Wishes(frozenset(_vlan_ids(_VLANS_ASKED, asked)), tuple(interfaces))


def _wrong_form(text: str) -> Iterator[str]:
    if "```" in text:
        yield "it has code fences"
    body = _BANNER.sub("banner", text)
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip() and line[0] != " " and not _COMMAND.match(line):
            yield f"line {number} is no configuration command"
            return


def _wrong_device(device_name: str, text: str) -> Iterator[str]:
    named = _HOSTNAME.findall(text)
    if not named:
        yield "it sets no hostname"
    elif set(named) != {device_name}:
        yield "its hostname is not the device's name"


def _missing_vlans(wishes: _Wishes, text: str) -> Iterator[str]:
    missing = sorted(wishes.vlans - _vlan_ids(_VLANS_SET, text))
    yield from (f"VLAN {vlan} is missing" for vlan in missing)


def _vlan_ids(pattern: re.Pattern[str], text: str) -> set[int]:
    found: set[int] = set()
    for match in pattern.finditer(text):
        for first, last in _RANGE.findall(match["list"]):
            found.update(range(int(first), int(last or first) + 1))
    return found & set(_VLAN_IDS)


def _missing_interfaces(wishes: _Wishes, text: str) -> Iterator[str]:
    there = {name for line in _SET.finditer(text) for name in _spanned(line["names"])}
    yield from (
        f"interface {kind}{place} is missing" for kind, place in wishes.interfaces if (kind, place) not in there
    )


def _spanned(names: str) -> Iterator[tuple[str, str]]:
    """Every interface of `GigabitEthernet1/0/1 - 44, TenGigabitEthernet1/1/1`."""
    for found in _SPAN.finditer(names):
        yield _kind(found), found["place"]
        head, _, first = found["place"].rpartition("/")
        for port in range(int(first) + 1, min(int(found["last"] or 0), int(first) + 256) + 1):
            yield _kind(found), f"{head}/{port}" if head else str(port)


def _kind(found: re.Match[str]) -> str:
    return _KINDS[found["kind"].lower()[:2]]
