"""`Ref[T]`: a large step result that stays in storage while the workflow passes it on.

In JSON a Ref is a small marker object. A marker counts only if the *metadata* of its payload, which user data
cannot reach, lists the same hash: a forged marker in outside JSON is an ordinary object and reads no blob.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeGuard, TypeVar, cast, get_args

from pydantic_core import SchemaSerializer, core_schema, to_json
from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.engine.data.adapters import make_adapter
from holdfast.errors import InvalidInput, NotInWorkflow

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationInfo

METADATA_KEY = "holdfast-refs"
MARKER_KEY = "$holdfast_ref"
ORDINAL_KEY = "ordinal"
SCHEMA_TAG = "holdfast_ref"
CONTEXT_KEY = "holdfast_refs"

T_co = TypeVar("T_co", covariant=True)
_NOT_INLINE: Any = object()


class RefSource(Protocol):
    """What a Ref needs to load itself."""

    async def load(self, ref: Ref[Any], adapter: TypeAdapter[Any]) -> Any:
        """Read the value behind `ref`."""
        ...


@dataclass(slots=True)
class RefContext:
    """What validation knows of a payload's Refs: the genuine hashes, and which markers a `Ref[...]` took."""

    allowed: frozenset[str]
    source: RefSource | None = None
    taken: set[int] = field(default_factory=set[int])


class RefUsedAsValue(AttributeError, TypeError):
    """A Ref was used as if it were the value behind it.

    It is also an `AttributeError`, so that `hasattr` and tools that look at objects keep working.
    """


class Ref(Generic[T_co]):
    """A reference to a step result over 4 MiB, in place of the value.

    Workflow code receives it where it expected the value, and passes it on: the next step receives the value,
    or the Ref itself if its parameter is annotated `Ref[...]`. A smaller value given to a `Ref[...]`
    parameter is wrapped, so such a step need not care about sizes.

    Attributes:
        sha256: The name of the blob, empty if the value is inline.
        step: The step whose result this is, if known.
    """

    __slots__ = ("__weakref__", "_inline", "_size", "_source", "_type", "sha256", "step")

    sha256: str
    step: str
    _size: int
    _type: Any
    _inline: Any
    _source: RefSource | None

    def __init__(
        self,
        sha256: str,
        size_bytes: int,
        *,
        step: str = "",
        type: Any = Any,
        source: RefSource | None = None,
        inline: Any = _NOT_INLINE,
    ) -> None:
        for name, value in (
            ("sha256", sha256),
            ("step", step),
            ("_size", size_bytes),
            ("_type", type),
            ("_source", source),
            ("_inline", inline),
        ):
            object.__setattr__(self, name, value)

    @property
    def size_bytes(self) -> int:
        """The size of the value as JSON (or as bytes, if it is bytes)."""
        if self._inline is _NOT_INLINE:
            return self._size
        return len(self._inline) if isinstance(self._inline, bytes) else len(to_json(self._inline))

    async def load(self) -> T_co:
        """Read the value. For steps and clients.

        Raises:
            NotInWorkflow: Called in workflow code; pass the Ref to a step.
            Unavailable: The blob is missing or damaged.
            InvalidInput: The value does not fit `T`, or this Ref did not come from a run.
        """
        if self._inline is not _NOT_INLINE:
            return cast("T_co", self._inline)
        if workflow.in_workflow():
            raise NotInWorkflow(
                f"{self._what()} cannot be loaded in workflow code, where it would go through every replay. "
                "Pass it to a step: the step receives the value."
            )
        if self._source is None:
            raise InvalidInput(
                f"{self._what()} is not connected to a storage. Only one that a step or a client received is."
            )
        return cast("T_co", await self._source.load(self, make_adapter(self._type)))

    def inline_value(self) -> Any:
        """The value of a Ref that has no blob."""
        return self._inline

    def marker(self) -> dict[str, Any]:
        """The object that stands for this Ref in JSON."""
        return {MARKER_KEY: self.sha256, "size_bytes": self._size, "step": self.step}

    def _what(self) -> str:
        of = f"the result of step {self.step!r}" if self.step else "a value"
        return f"This Ref ({of}, {self.size_bytes / 1e6:.1f} MB)"

    def _refuse(self, use: str) -> NoReturn:
        raise RefUsedAsValue(
            f"{self._what()} does not support {use}: what has over 4 MiB reaches a workflow as a Ref, "
            "not as the value. Pass it to a step, which receives the value, or let the step return less."
        )

    def __repr__(self) -> str:
        name = self.sha256[:12] or "inline"
        return f"Ref({name}, size_bytes={self.size_bytes}, step={self.step!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ref):
            return NotImplemented
        if self.sha256 or other.sha256:
            return bool(self.sha256 == other.sha256)
        return bool(self._inline == other._inline)

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"A Ref is frozen; cannot set {name!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        if self._inline is not _NOT_INLINE:
            return (_inline_ref, (self._inline, self._type))
        return (_plain_ref, (self.sha256, self._size, self.step))

    if not TYPE_CHECKING:  # type checkers already refuse these uses

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)
            self._refuse(f"`.{name}`")

        def __len__(self) -> NoReturn:
            self._refuse("`len()`")

        def __iter__(self) -> NoReturn:
            self._refuse("iteration")

        def __getitem__(self, key: object) -> NoReturn:
            self._refuse("indexing")

        def __contains__(self, item: object) -> NoReturn:
            self._refuse("`in`")

        def __bool__(self) -> bool:
            return True  # without it, truth would ask `__len__`; what is over 4 MiB is not empty

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        arguments = get_args(source)
        value_type: Any = arguments[0] if arguments else Any

        def validate(
            value: Any, inner: core_schema.ValidatorFunctionWrapHandler, info: ValidationInfo
        ) -> Ref[Any]:
            if _is_ref(value):
                return value
            if is_marker(value):
                context = _context(info.context)
                if context is None or value[MARKER_KEY] not in context.allowed:
                    raise ValueError("a Ref can only come from a step's result, this one was written by hand")
                if ORDINAL_KEY in value:
                    context.taken.add(value[ORDINAL_KEY])
                return from_marker(value, type=value_type, source=context.source)
            return Ref("", 0, type=value_type, inline=inner(value))

        return core_schema.with_info_wrap_validator_function(
            validate,
            handler.generate_schema(value_type),
            serialization=_SERIALIZATION,
            metadata={SCHEMA_TAG: True},
        )


def _is_ref(value: object) -> TypeGuard[Ref[Any]]:
    return isinstance(value, Ref)


def _inline_ref(value: Any, type: Any) -> Ref[Any]:
    return Ref("", 0, type=type, inline=value)


def _plain_ref(sha256: str, size_bytes: int, step: str) -> Ref[Any]:
    return Ref(sha256, size_bytes, step=step)


def _serialize(value: Any, info: core_schema.SerializationInfo) -> Any:
    """Write the marker, and note the Ref in the context so that the payload's metadata can list it."""
    if not isinstance(value, Ref):
        return value
    if not value.sha256:
        return value.inline_value()
    context: object = info.context
    noted = cast("dict[str, list[str]]", context).get(CONTEXT_KEY) if isinstance(context, dict) else None
    if noted is not None:
        noted.append(value.sha256)
    return value.marker()


_SERIALIZATION = core_schema.plain_serializer_function_ser_schema(_serialize, info_arg=True, when_used="json")
# pydantic looks for this attribute on values whose type it was not told.
Ref.__pydantic_serializer__ = SchemaSerializer(core_schema.any_schema(serialization=_SERIALIZATION))  # type: ignore[attr-defined]


def _context(context: Any) -> RefContext | None:
    found = cast("dict[str, object]", context).get(CONTEXT_KEY) if isinstance(context, dict) else None
    return found if isinstance(found, RefContext) else None


def is_marker(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a parsed JSON value has the shape of a marker. It says nothing of its genuineness."""
    return isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get(MARKER_KEY), str)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """`isinstance(value, list)`, typed."""
    return isinstance(value, list)


def from_marker(marker: dict[str, Any], *, type: Any = Any, source: RefSource | None = None) -> Ref[Any]:
    """The Ref a genuine marker stands for."""
    size_bytes, step = marker.get("size_bytes"), marker.get("step")
    return Ref(
        marker[MARKER_KEY],
        size_bytes if isinstance(size_bytes, int) else 0,
        step=step if isinstance(step, str) else "",
        type=type,
        source=source,
    )


def genuine_refs(payload: Payload) -> frozenset[str]:
    """The hashes that a payload's metadata vouches for."""
    listed = payload.metadata.get(METADATA_KEY)
    return frozenset(listed.decode("ascii").split(",")) if listed else frozenset()


def list_refs(payload: Payload, hashes: Iterable[str]) -> None:
    """Vouch for Refs inside `payload`."""
    listed = ",".join(dict.fromkeys(hashes))
    if listed:
        payload.metadata[METADATA_KEY] = listed.encode("ascii")


def mentions_ref(schema: object) -> bool:
    """Whether a pydantic core schema contains a `Ref[...]`."""
    if isinstance(schema, dict):
        node = cast("dict[str, Any]", schema)
        metadata = node.get("metadata")
        if isinstance(metadata, dict) and SCHEMA_TAG in metadata:
            return True
        return any(map(mentions_ref, node.values()))
    return is_list(schema) and any(map(mentions_ref, schema))


def markers(tree: object, allowed: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Every genuine marker of a parsed JSON document, in document order."""
    if is_marker(tree) and tree[MARKER_KEY] in allowed:
        yield tree
    elif isinstance(tree, dict):
        for value in cast("dict[str, Any]", tree).values():
            yield from markers(value, allowed)
    elif is_list(tree):
        for value in tree:
            yield from markers(value, allowed)
