"""What an expression may be: as much as the rules about code need to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from holdfast.spec.audit.code.scope import Class, Function


@dataclass(frozen=True)
class External:
    """Something from elsewhere, by its dotted path. What a function returns is the path and `()`."""

    path: str
    instance: bool = False
    """Whether it is an object of the class of that path."""


@dataclass(frozen=True)
class FunctionRef:
    """A function of the file."""

    function: Function
    receiver: Class | None = None
    """The class that it is called on, whose methods `self` has."""


@dataclass(frozen=True)
class ClassRef:
    """A class of the file."""

    cls: Class


@dataclass(frozen=True)
class Object:
    """An object of a class of the file."""

    cls: Class
    after: Class | None = None
    """For `super()`: the class after which methods are looked up."""


@dataclass(frozen=True)
class SetValue:
    """A set, whose order is not the same in every process."""


Value: TypeAlias = External | FunctionRef | ClassRef | Object | SetValue | None

SET: Final = SetValue()

SET_TYPES: Final = frozenset(
    {
        "builtins.set",
        "builtins.frozenset",
        "typing.Set",
        "typing.FrozenSet",
        "typing.AbstractSet",
        "typing.MutableSet",
        "collections.abc.Set",
        "collections.abc.MutableSet",
    }
)

SET_METHODS: Final = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
"""Methods of sets that return sets."""

PATHS: Final = frozenset({"pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath"})

PATH_PARTS: Final = frozenset(
    {
        *("parent", "joinpath", "with_name", "with_suffix", "with_stem", "absolute", "resolve", "expanduser"),
        *("cwd", "home", "relative_to"),
    }
)
"""What of a path is a path again."""


def words(text: str) -> frozenset[str]:
    """The names in a text, for tables that are lists of names."""
    return frozenset(text.split())
