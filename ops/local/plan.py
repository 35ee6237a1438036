"""What a stack is made of and in which order it comes up."""

from collections.abc import Mapping
from dataclasses import dataclass

from ops.local.part import Command, Part


@dataclass(frozen=True, slots=True)
class Errand:
    """A process that must end well once before others start."""

    name: str
    command: Command


@dataclass(frozen=True, slots=True)
class Step:
    """A part or an errand that starts as soon as all it `needs` are healthy or done."""

    work: Part | Errand
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    endpoints: Mapping[str, str]
    """What `endpoints.json` will say once the stack is ready; carries passwords."""
    rehearsed: bool = False
