"""A plausible review of a device configuration: findings with severity, line and advice."""

import re
from dataclasses import dataclass
from typing import Final

_SEVERITIES: Final = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
_MAX_FINDINGS: Final = 20


@dataclass(frozen=True, slots=True)
class _Rule:
    severity: str
    pattern: re.Pattern[str]
    wrong: str
    advice: str


def _rule(severity: str, pattern: str, wrong: str, advice: str) -> _Rule:
    return _Rule(severity, re.compile(pattern, re.IGNORECASE), wrong, advice)


_BAD_LINES: Final = (
    _rule(
        "CRITICAL",
        r"^\s*snmp-server community (public|private)\b",
        "default SNMP community",
        "use SNMPv3 with auth and priv",
    ),
    _rule(
        "CRITICAL",
        r"^\s*permit ip any any\b",
        "the access list permits everything",
        "permit what is needed, deny and log the rest",
    ),
    _rule("HIGH", r"^\s*transport input .*\b(telnet|all)\b", "telnet is allowed", "set `transport input ssh`"),
    _rule("HIGH", r"^\s*enable password\b", "reversible enable password", "use `enable secret` with type 9"),
    _rule("HIGH", r"^\s*(username \S+ )?password 0\b", "a password in clear text", "use a type 9 secret or TACACS+"),
    _rule("MEDIUM", r"^\s*ip http server\b", "the plain HTTP server is on", "set `no ip http server`"),
    _rule(
        "MEDIUM",
        r"^\s*no service password-encryption\b",
        "passwords are shown in clear",
        "set `service password-encryption`",
    ),
    _rule("LOW", r"^\s*switchport access vlan 1$", "an access port in VLAN 1", "move it to a dedicated VLAN"),
)

_MISSING: Final = (
    _rule("MEDIUM", r"^\s*ntp server\b", "no time source", "configure two authenticated NTP servers"),
    _rule("MEDIUM", r"^\s*logging (host )?\d", "logs are not sent anywhere", "send them to a syslog host"),
    _rule("LOW", r"^\s*banner\b", "no login banner", "set a legal banner"),
)


def device_review(config: str) -> str:
    """One finding per line, the most severe first, then a verdict."""
    lines = config.strip().splitlines()
    findings = [*_bad_lines(lines), *_missing(lines)]
    findings.sort(key=lambda finding: _SEVERITIES.index(finding.split(" | ", 1)[0]))
    return "\n".join([*findings[:_MAX_FINDINGS], _verdict(findings, len(lines))])


def _bad_lines(lines: list[str]) -> list[str]:
    return [
        f"{rule.severity} | line {number} | {rule.wrong} | {rule.advice}"
        for number, line in enumerate(lines, start=1)
        for rule in _BAD_LINES
        if rule.pattern.search(line)
    ]


def _missing(lines: list[str]) -> list[str]:
    return [
        f"{rule.severity} | global | {rule.wrong} | {rule.advice}"
        for rule in _MISSING
        if not any(rule.pattern.search(line) for line in lines)
    ]


def _verdict(findings: list[str], line_count: int) -> str:
    urgent = sum(finding.startswith(_SEVERITIES[:2]) for finding in findings)
    if urgent:
        return (
            f"VERDICT: not ready; fix {urgent} of {len(findings)} findings before deployment ({line_count} lines read)."
        )
    return f"VERDICT: acceptable with {len(findings)} improvements ({line_count} lines read)."
