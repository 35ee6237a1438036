"""The devices of a carrier that does not exist: 300 of them, of 12 roles, at 40 sites."""

import random
from dataclasses import dataclass
from typing import Final

DEVICES: Final = 300
SITES: Final = tuple(
    f"{city}-{number:02d}"
    for city in ("osl", "bgo", "trd", "svg", "krs", "tos", "bod", "dra", "fre", "ham")
    for number in range(1, 5)
)


@dataclass(frozen=True, slots=True)
class Role:
    """What a device does. `vlans` and `uplinks` are what every device of this role carries."""

    name: str
    short: str
    weight: int
    """How common it is among the devices."""
    vlans: tuple[tuple[int, str], ...] = ()
    access_ports: int = 0
    routing: str = "none"
    """`none`, `ospf`, `bgp`, or `site-bgp` where each site has a number and networks of its own."""
    extras: tuple[str, ...] = ()


_OFFICE: Final = ((110, "users"), (120, "voice"), (130, "printers"))
_SERVERS: Final = ((210, "servers"), (220, "storage"), (230, "backup"))

ROLES: Final = (
    Role("access-switch", "acc", 30, _OFFICE, 44, extras=("port security with two addresses per port", "BPDU guard")),
    Role("distribution-switch", "dis", 10, _OFFICE, 0, "ospf", ("HSRP for every VLAN", "DHCP relay to 10.1.0.20")),
    Role("core-switch", "cor", 5, (), 0, "ospf", ("jumbo frames on all uplinks",)),
    Role("branch-router", "bra", 14, ((10, "users"), (20, "voice")), 6, "bgp", ("NAT for guest traffic",)),
    Role("edge-router", "edg", 6, (), 0, "site-bgp", ("a prefix list that refuses private networks from peers",)),
    Role("wan-router", "wan", 6, (), 0, "site-bgp", ("QoS with four classes, voice first",)),
    Role("datacenter-leaf", "lea", 12, _SERVERS, 40, "bgp", ("an MTU of 9216",)),
    Role("datacenter-spine", "spi", 4, (), 0, "bgp", ("route reflection for the leaves",)),
    Role("firewall-edge", "fwe", 4, ((300, "dmz"),), 4, "none", ("deny and log what is not permitted",)),
    Role("wireless-controller", "wlc", 3, ((140, "guests"), (150, "staff")), 0, extras=("802.1X for staff",)),
    Role("industrial-switch", "ind", 8, ((400, "scada"), (410, "cameras")), 16, extras=("a storm limit of 1 percent",)),
    Role("management-switch", "oob", 6, ((900, "management"),), 40, extras=("no route to the user networks",)),
)


@dataclass(frozen=True, slots=True)
class Device:
    """One device; `site_number` (1 to 40) is the second octet of its site's networks."""

    name: str
    site: str
    site_number: int
    role: Role


def devices(dice: random.Random) -> list[Device]:
    """The whole inventory: every role and every site occurs, the rest by weight."""
    roles = [*ROLES, *dice.choices(ROLES, [role.weight for role in ROLES], k=DEVICES - len(ROLES))]
    places = [*range(len(SITES)), *(dice.randrange(len(SITES)) for _ in range(DEVICES - len(SITES)))]
    dice.shuffle(roles)
    counts: dict[tuple[int, str], int] = {}
    found = []
    for place, role in zip(places, roles, strict=True):
        counts[place, role.short] = counts.get((place, role.short), 0) + 1
        name = f"{SITES[place]}-{role.short}-{counts[place, role.short]:02d}"
        found.append(Device(name, SITES[place], place + 1, role))
    return found
