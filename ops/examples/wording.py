"""What people write about a device: a list of wishes, a remark, or the site's standard configuration."""

from collections.abc import Iterator
from typing import Final

from ops.examples.inventory import Device, Role

_BANNER: Final = "Authorised use only. Activity is logged."
_CHANGES: Final = (
    "",
    "- Add VLAN 180 (contractors) with an ACL that permits only the Internet and DNS",
    "- Mirror the first uplink to the last port for a packet capture",
    "- Add a second NTP server 10.1.0.11 and a second syslog host 10.1.0.31",
)
_REMARKS: Final = (
    "",
    "Contractors move in next week; the VLAN already exists at the core.",
    "Temporary, for a voice quality complaint. Remove after two weeks.",
    "The audit asked for redundant time and log servers.",
)


def requirements_of(device: Device, change: int) -> str:
    """The wishes for a device: its role's standard, the same everywhere but where a router names its site's networks.

    `change` is 0 to 3.
    """
    extra = _CHANGES[change]
    return "\n".join([*_wishes(device), *([extra] if extra else [])])


def context_of(device: Device, change: int) -> str:
    """The asker's remark; empty where there is none."""
    if device.role.short == "ind" and not change:
        return "Unattended cabinet, no air conditioning; the next visit is in spring."
    return _REMARKS[change]


def _wishes(device: Device) -> Iterator[str]:
    role = device.role
    for vlan, name in role.vlans:
        yield f"- VLAN {vlan} ({name}), addresses from the site's DHCP, gateway on the layer above"
    if role.access_ports:
        yield f"- Interfaces GigabitEthernet1/0/1 to 1/0/{role.access_ports}: access ports in VLAN {role.vlans[0][0]}"
    yield f"- Interfaces TenGigabitEthernet1/1/1 and 1/1/2: {_uplink(role)} to the next layer"
    yield from _routing_wishes(device)
    yield "- Management access by SSH only, ACL permits 10.1.250.0/24"
    yield "- NTP server 10.1.0.10, time zone CET with summer time"
    yield "- Syslog to 10.1.0.30 at level informational, source the management interface"
    yield from (f"- {extra[0].upper()}{extra[1:]}" for extra in role.extras)


def _uplink(role: Role) -> str:
    return "routed uplinks" if role.routing != "none" else "a trunk that carries only the VLANs above"


def _routing_wishes(device: Device) -> Iterator[str]:
    match device.role.routing:
        case "ospf":
            yield "- OSPF process 1, area 0, passive by default, MD5 authentication on the uplinks"
        case "bgp":
            yield "- BGP AS 64600, neighbours on both uplinks in AS 64512, announce what is connected"
        case "site-bgp":
            octet = f"10.{device.site_number}"
            neighbours = f"neighbours {octet}.255.1 and {octet}.255.2 in AS 64512"
            yield f"- BGP AS {64_512 + device.site_number}, {neighbours}, announce {octet}.0.0/16"
        case _:
            return


def standard_configuration(device: Device) -> str:
    """The configuration that a site keeps for a role; some carry the flaws a review is there to find."""
    octet = f"10.{device.site_number}"
    return "\n".join([*_head(device), *_body(device.role, octet), *_foot(device.site_number, octet), "end"])


def _head(device: Device) -> Iterator[str]:
    yield f"hostname {device.site}-{device.role.short}-std"
    yield "service timestamps log datetime msec localtime"
    yield "service password-encryption" if device.site_number % 3 else "no service password-encryption"
    yield "no ip http server" if device.site_number % 4 else "ip http server"
    yield f"banner login ^{_BANNER}^"


def _body(role: Role, octet: str) -> Iterator[str]:
    for vlan, name in role.vlans:
        yield f"vlan {vlan}\n name {name}"
    for port in range(1, min(role.access_ports, 3) + 1):
        yield f"interface GigabitEthernet1/0/{port}\n switchport mode access"
        yield f" switchport access vlan {role.vlans[0][0]}\n spanning-tree portfast"
    for port in (1, 2):
        yield f"interface TenGigabitEthernet1/1/{port}\n description uplink {port}"
        yield (
            f" ip address {octet}.255.{4 * port + 1} 255.255.255.252"
            if role.routing != "none"
            else " switchport mode trunk"
        )
    if role.routing == "ospf":
        yield f"router ospf 1\n passive-interface default\n network {octet}.0.0 0.0.255.255 area 0"
    elif role.routing.endswith("bgp"):
        yield f"router bgp 65000\n neighbor {octet}.255.1 remote-as 64512\n network {octet}.0.0 mask 255.255.0.0"


def _foot(site_number: int, octet: str) -> Iterator[str]:
    yield f"ip access-list standard MANAGEMENT\n permit {octet}.250.0 0.0.0.255"
    yield f"logging host {octet}.0.30"
    yield f"ntp server {octet}.0.10"
    yield f"snmp-server community {'public' if site_number % 5 == 0 else 'm3ridian'} RO"
    yield "line vty 0 15\n access-class MANAGEMENT in"
    yield f" transport input {'telnet ssh' if site_number % 6 == 0 else 'ssh'}"
