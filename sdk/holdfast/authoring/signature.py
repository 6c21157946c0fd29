"""What a decorated function declares: parameters, types, defaults, dependencies."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, get_type_hints

from holdfast.authoring.depends import Dependency
from holdfast.errors import FixInput, InvalidInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_EMPTY = inspect.Parameter.empty


def where(fn: Callable[..., Any]) -> str:
    """The function's name with file and line, for messages."""
    code = getattr(fn, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{getattr(fn, '__qualname__', repr(fn))}{place}"


def _is_dependency(default: object) -> TypeGuard[Dependency[Any]]:
    return isinstance(default, Dependency)


class Signature:
    """The shape of a function, checked at import; its types are resolved at first use."""

    def __init__(self, fn: Callable[..., Any], *, kind: str, error: type[FixInput]) -> None:
        self.fn = fn
        self._kind = kind
        self._error = error
        self._check_kind()
        parameters = list(inspect.signature(fn).parameters.values())
        self.is_method = bool(parameters) and parameters[0].name == "self" and "." in fn.__qualname__
        if self.is_method:
            parameters = parameters[1:]
        self.dependencies: dict[str, Dependency[Any]] = {
            p.name: p.default for p in parameters if _is_dependency(p.default)
        }
        self.parameters = [p for p in parameters if p.name not in self.dependencies]
        self.names = [p.name for p in self.parameters]
        self._check_parameters(parameters)
        self._positional_count = sum(p.kind is not p.KEYWORD_ONLY for p in self.parameters)

    def _check_kind(self) -> None:
        fn = self.fn
        if not inspect.isfunction(fn):
            raise self._error(f"@{self._kind} decorates functions, not {fn!r}")
        if fn.__name__ == "<lambda>":
            raise self._error(f"@{self._kind} needs a name: write {where(fn)} with def")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise self._error(
                f"{where(fn)} is a generator: return a list, since a {self._kind} has one result"
            )

    def _check_parameters(self, parameters: Sequence[inspect.Parameter]) -> None:
        for p in parameters:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise self._error(f"{where(self.fn)}: *{p.name} cannot be sent: name each parameter")
            if p.annotation is _EMPTY and p.name not in self.dependencies:
                raise self._error(
                    f"{where(self.fn)}: parameter {p.name!r} has no type: write `{p.name}: SomeType`"
                )
        if inspect.signature(self.fn).return_annotation is _EMPTY:
            raise self._error(f"{where(self.fn)} has no return type: write `-> SomeType` (or `-> None`)")

    @functools.cached_property
    def hints(self) -> Mapping[str, Any]:
        """The resolved annotations, by parameter name and `return`."""
        closure: Mapping[str, Any] = inspect.getclosurevars(self.fn).nonlocals if self.fn.__closure__ else {}
        try:
            return get_type_hints(self.fn, localns=dict(closure), include_extras=True)
        except (NameError, TypeError, AttributeError) as exc:
            raise self._error(
                f"{where(self.fn)}: a type cannot be resolved ({exc}); define it at module level and import it there"
            ) from exc

    @functools.cached_property
    def adapters(self) -> list[TypeAdapter[Any]]:
        """One validator per sent parameter, in order."""
        return [self._adapter(name, self.hints.get(name, Any)) for name in self.names]

    @functools.cached_property
    def result(self) -> TypeAdapter[Any]:
        """The validator of the result."""
        return self._adapter("return", self.hints.get("return", Any))

    def _adapter(self, name: str, hint: Any) -> TypeAdapter[Any]:
        from pydantic import PydanticUserError, TypeAdapter  # slow to import
        from pydantic.errors import PydanticSchemaGenerationError

        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hint)
            adapter.rebuild()
            return adapter
        except (PydanticSchemaGenerationError, PydanticUserError, NameError) as exc:
            what = "the result" if name == "return" else f"parameter {name!r}"
            raise self._error(
                f"{where(self.fn)}: {what} of type {hint!r} cannot travel as JSON; "
                "use builtins, dataclasses or pydantic models, or make it a dependency with Depends(...)"
            ) from exc

    def resolve(self) -> None:
        """Resolve every type now.

        Raises:
            InvalidStep, InvalidWorkflow: A type is unknown or cannot travel.
        """
        _ = self.adapters, self.result

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The values to send, one per parameter, defaults filled in.

        Raises:
            InvalidInput: An argument is missing or is one too many.
        """
        if not kwargs and len(args) == len(self.names) == self._positional_count:
            return list(args)
        values: list[Any] = []
        rest = dict(kwargs)
        if len(args) > self._positional_count:
            takes = ", ".join(self.names) or "no arguments"
            raise InvalidInput(f"{self.fn.__qualname__} got {len(args)} arguments; it takes {takes}")
        for index, p in enumerate(self.parameters):
            if index < len(args):
                if p.name in rest:
                    raise InvalidInput(f"{self.fn.__qualname__} got {p.name!r} twice")
                values.append(args[index])
            elif p.name in rest:
                values.append(rest.pop(p.name))
            elif p.default is not _EMPTY:
                values.append(p.default)
            else:
                raise InvalidInput(f"{self.fn.__qualname__} misses the argument {p.name!r}")
        if rest:
            unknown = ", ".join(map(repr, rest))
            raise InvalidInput(
                f"{self.fn.__qualname__} has no parameter {unknown}; it takes {', '.join(self.names)}"
            )
        return values

    def sent(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The values of a plain call that would be sent: without the instance and the dependencies."""
        bound = inspect.signature(self.fn).bind(*args, **kwargs)
        bound.apply_defaults()
        return [bound.arguments[name] for name in self.names]

    def split(self, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Decoded values as positional and keyword arguments."""
        count = self._positional_count
        return list(values[:count]), dict(zip(self.names[count:], values[count:], strict=True))

    def call(self, values: Sequence[Any], dependencies: Mapping[str, Any], instance: Any = None) -> Any:
        """Call the function with decoded values and resolved dependencies."""
        positional, keywords = self.split(values)
        keywords.update(dependencies)
        if self._first_dependency_before_value():
            keywords.update(zip(self.names, values, strict=True))
            positional = []
        return (
            self.fn(instance, *positional, **keywords) if self.is_method else self.fn(*positional, **keywords)
        )

    @functools.cache  # noqa: B019 - a signature lives as long as its step
    def _first_dependency_before_value(self) -> bool:
        order = [p.name for p in inspect.signature(self.fn).parameters.values() if p.name != "self"]
        sent = [name for name in order if name not in self.dependencies]
        return order[: len(sent)] != sent
