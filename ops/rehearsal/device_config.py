"""A plausible device configuration for a device name and requirements in plain words."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Final

_MAX_VLANS: Final = 64
_MAX_INTERFACES: Final = 48
_VLAN_ID_LIMIT: Final = 4094

_VLANS: Final = re.compile(r"vlans?\s*:?\s*((?:\d{1,4}(?:\s*-\s*\d{1,4})?(?:\s*(?:,|and|&)\s*)?)+)", re.IGNORECASE)
_NUMBER_OR_RANGE: Final = re.compile(r"(\d{1,4})(?:\s*-\s*(\d{1,4}))?")
_INTERFACE: Final = re.compile(
    r"\b((?:GigabitEthernet|TenGigabitEthernet|FastEthernet|Ethernet|Gi|Te|Fa|Eth|Lo|Loopback|Po|Port-channel)"
    r"\s?\d+(?:/\d+){0,3})\b",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
_AS_NUMBER: Final = re.compile(r"\b(?:BGP|AS|ASN)\s*(?:AS\s*)?(\d{1,10})\b", re.IGNORECASE)
_OSPF_AREA: Final = re.compile(r"\barea\s+(\d+)", re.IGNORECASE)


def device_config(device_name: str, requirements: str) -> str:
    """IOS-like text that carries the device's name verbatim and what the requirements mention."""
    # Not from the name: one answer, its name exchanged, must serve every device with the same requirements.
    site = hashlib.sha256(requirements.encode()).digest()[0]
    lines = ["!", f"hostname {device_name}", "!", "service timestamps log datetime msec", "no ip http server", "!"]
    vlans = list(_vlans(requirements))
    for vlan in vlans:
        lines += [f"vlan {vlan}", f" name VLAN_{vlan}"]
    for position, interface in enumerate(_interfaces(requirements)):
        lines += _interface_lines(interface, vlans, position)
    for section in _SECTIONS:
        lines += section(requirements, site)
    return "\n".join([*lines, "line vty 0 15", " transport input ssh", "!", "end"])


def _vlans(requirements: str) -> Iterator[int]:
    found: dict[int, None] = {}
    for run in _VLANS.findall(requirements):
        for first, last in _NUMBER_OR_RANGE.findall(run):
            end = min(int(last or first), int(first) + _MAX_VLANS)
            found.update(dict.fromkeys(range(int(first), end + 1)))
    return iter([vlan for vlan in found if 1 <= vlan <= _VLAN_ID_LIMIT][:_MAX_VLANS])


def _interfaces(requirements: str) -> list[str]:
    return list(dict.fromkeys(_INTERFACE.findall(requirements)))[:_MAX_INTERFACES]


def _interface_lines(interface: str, vlans: list[int], position: int) -> list[str]:
    lines = ["!", f"interface {interface}"]
    if interface.lower().startswith("lo"):
        return [*lines, f" ip address 10.255.0.{position + 1} 255.255.255.255"]
    if position == 0 and len(vlans) > 1:
        allowed = ",".join(str(vlan) for vlan in vlans)
        return [*lines, " description uplink", " switchport mode trunk", f" switchport trunk allowed vlan {allowed}"]
    if vlans:
        vlan = vlans[position % len(vlans)]
        lines += [" switchport mode access", f" switchport access vlan {vlan}", " spanning-tree portfast"]
    return [*lines, " no shutdown"]


def _routing_lines(requirements: str, site: int) -> list[str]:
    lines: list[str] = []
    lowered = requirements.lower()
    if "ospf" in lowered:
        area = _first(_OSPF_AREA, requirements, "0")
        lines += ["!", "router ospf 1", f" router-id 10.{site}.0.1", f" network 10.{site}.0.0 0.0.255.255 area {area}"]
    if "bgp" in lowered:
        number = _first(_AS_NUMBER, requirements, "65001")
        lines += ["!", f"router bgp {number}", " bgp log-neighbor-changes", f" network 10.{site}.0.0 mask 255.255.0.0"]
    if "static route" in lowered or "default route" in lowered:
        lines += ["!", f"ip route 0.0.0.0 0.0.0.0 10.{site}.0.254"]
    return lines


def _access_list_lines(requirements: str, site: int) -> list[str]:
    lowered = requirements.lower()
    if "acl" not in lowered and "access list" not in lowered and "access-list" not in lowered:
        return []
    return [
        "!",
        "ip access-list extended MGMT_IN",
        f" permit tcp 10.{site}.0.0 0.0.255.255 any eq 22",
        " permit icmp any any echo",
        " deny ip any any log",
    ]


def _service_lines(requirements: str, site: int) -> list[str]:
    lines: list[str] = []
    for word, command, host in (
        ("ntp", "ntp server", 10),
        ("syslog", "logging host", 11),
        ("snmp", "snmp-server host", 12),
    ):
        position = requirements.lower().find(word)
        if position >= 0:
            # The address named in the same line, else one of the site's.
            named = _ADDRESS.search(requirements[position:].split("\n", 1)[0])
            lines.append(f"{command} {named.group(0) if named else f'10.{site}.0.{host}'}")
    return ["!", *lines] if lines else []


def _first(pattern: re.Pattern[str], text: str, fallback: str) -> str:
    match = pattern.search(text)
    return match.group(1) if match else fallback


_SECTIONS: Final[tuple[Callable[[str, int], list[str]], ...]] = (_routing_lines, _access_list_lines, _service_lines)
