"""Requirements in one form, so that a difference that has no meaning makes no other question. Rules, never likeness.

Each rule is a pure function from text to text and safe to repeat. What none of them is sure of stays as it was
written: a number, a name, a negation that differs is another question. Only variables that a template names as
canonical are treated so; the model is always sent the payer's own words.
"""

import re
from functools import lru_cache, partial
from typing import Final

CANONICAL_VERSION: Final = 1
"""Part of every fingerprint that these rules had a hand in; raised with any change to them."""

_SPACES: Final = str.maketrans("\t\u00a0", "  ")
_GAPS: Final = re.compile(r"[ ]+")
_BULLET: Final = re.compile(r"^([ ]*)[-*\u2022\u2013][ ]+")
_VERBATIM: Final = re.compile(r"[\"`^']")
"""A line with a quotation or a banner in it: spaces and case may be what it is about."""

_KEYWORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        vlan vlans interface interfaces port ports trunk trunks access uplink uplinks acl acls ntp syslog snmp ssh
        telnet dhcp dns server servers ospf bgp area neighbour neighbours neighbor neighbors subnet gateway process
        level ip ipv4 ipv6 mtu stp lacp hsrp vrrp qos nat aaa tacacs radius bpdu guard portfast management
        add allow allows apply carry configure deny denies disable enable mirror permit permits set use
        no not only without except never all every and for from with the
        """,
    )
)
_NAMING: Final = frozenset(
    re.findall(
        r"\w+",
        """
        vlan vlans acl acls list lists name names named naming called vrf description banner community password
        passphrase secret key string user username hostname group policy map class profile zone domain realm view
        contact location
        """,
    )
)
"""After one of these a word is somebody's own, and its case is part of it."""
_WORD: Final = re.compile(r"[^\W\d_](?:[\w./:-]*\w)?")
_BRACKETED: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]|<[^>]*>|\{[^}]*\}")

_VLAN_LIST: Final = re.compile(
    r"\bvlans[ ]*:?[ ]*(?P<list>[0-9]{1,4}(?:[ ]*(?:,[ ]*and|,|and|&)[ ]*[0-9]{1,4})+)"
    r"(?=[ ]*(?:$|[.;][ ]|[.;]$|[ ](?:on|as|with|are|must|over|across|through)\b))",
    re.MULTILINE,
)
_SEPARATOR: Final = re.compile(r"[ ]*(?:,[ ]*and|,|and|&)[ ]*")
_ORDER_MATTERS: Final = re.compile(
    r"\b(?:respectively|order|ordered|first|second|third|last|former|latter|then|sequence|names?|in turn|before|after"
    r"|followed|preferred|priority)\b",
    re.IGNORECASE,
)
_LISTED: Final = re.compile(r",|&|\band\b|[^\W\d][ ]?/[ ]?[^\W\d]", re.IGNORECASE)


def canonical_requirements(text: str) -> str:
    """The one form of all texts that these rules know to ask the same."""
    return _remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else _canonical(text)


def _canonical(text: str) -> str:
    return sort_vlan_lists(fold_keywords(even_spacing(text)))


# Fleets ask in the same words again and again, and the rules take longer than the rest of taking a request in.
_REMEMBERED_CHARACTERS: Final = 8192
_remembered: Final = lru_cache(maxsize=512)(_canonical)


def even_spacing(text: str) -> str:
    """One space between words, one kind of bullet, no empty lines, no common indent; quoted lines stay as they are."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    spaced = [line if _VERBATIM.search(line) else line.translate(_SPACES) for line in lines if line]
    indent = min((len(line) - len(line.lstrip(" ")) for line in spaced), default=0)
    return "\n".join(line[indent:] if _VERBATIM.search(line) else _even(line[indent:]) for line in spaced)


def fold_keywords(text: str) -> str:
    """Lower case for the words networks are described with; names, and whatever is not in the list, keep theirs."""
    return "\n".join(line if _VERBATIM.search(line) else _folded(line) for line in text.split("\n"))


def sort_vlan_lists(text: str) -> str:
    """`vlans 30, 10 and 20` as `vlans 10,20,30`, where the text holds nothing that could go with their order."""
    if _ORDER_MATTERS.search(text):
        return text
    lines = text.split("\n")
    counts = [len(_LISTED.findall(line)) for line in lines]
    return "\n".join(_VLAN_LIST.sub(partial(_sorted_list, counts, number), line) for number, line in enumerate(lines))


def _even(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    evened = line[:indent] + _GAPS.sub(" ", line[indent:])
    return _BULLET.sub(r"\1- ", evened)


def _folded(line: str) -> str:
    kept = [found.span() for found in _BRACKETED.finditer(line)]
    pieces: list[str] = []
    end, previous = 0, ""
    for found in _WORD.finditer(line):
        word, start = found[0], found.start()
        is_name = previous in _NAMING or any(first <= start < last for first, last in kept)
        pieces += [line[end:start], word.lower() if not is_name and _is_keyword(word) else word]
        # `name is X`, `named: X`: what follows is still the name.
        previous = previous if is_name and word.lower() in {"is", "the", "a"} else word.lower()
        end = found.end()
    return "".join([*pieces, line[end:]])


def _is_keyword(word: str) -> bool:
    # `NO`, in capitals, may be a country.
    return word.lower() in _KEYWORDS and (len(word) > 2 or word != word.upper() or word == "IP")  # noqa: PLR2004


def _sorted_list(counts: list[int], line: int, found: re.Match[str]) -> str:
    numbers = _SEPARATOR.split(found["list"])
    separators = len(numbers) - 1
    # As long a list elsewhere, or any in the same line, may be meant to go with this one, item by item.
    paired = counts[line] > len(_LISTED.findall(found["list"])) or any(
        count >= separators for other, count in enumerate(counts) if other != line
    )
    return found[0] if paired else "vlans " + ",".join(sorted(numbers, key=lambda number: (int(number), number)))
