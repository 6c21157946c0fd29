"""Dependencies of steps: what a worker opens once and hands to steps, and what never travels."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Generic, TypeVar, overload

from holdfast.errors import InvalidStep, NotInWorkflow

T = TypeVar("T")


class Dependency(Generic[T]):
    """A parameter's default that asks the worker for a value. Made by `Depends(provider)`."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self.provider = provider

    def __repr__(self) -> str:
        return f"Depends({getattr(self.provider, '__qualname__', self.provider)!s})"


@overload
def Depends(provider: Callable[[], AsyncIterator[T] | Iterator[T] | Awaitable[T]]) -> T: ...
@overload
def Depends(provider: Callable[[], T]) -> T: ...
def Depends(provider: Callable[[], Any]) -> Any:
    """A value that the worker opens once and hands to every step that asks for it.

    Args:
        provider: A function without parameters: an async or sync generator that yields the value once and closes it
            after the `yield` when the worker stops, or an async or sync function that returns it.

    Example:
        `async def save(row: Row, db: Pool = Depends(open_pool)) -> None: ...`
    """
    if not callable(provider):
        raise InvalidStep(f"Depends({provider!r}): give the function, without calling it")
    required = [
        p.name
        for p in inspect.signature(provider).parameters.values()
        if p.default is inspect.Parameter.empty
    ]
    if required:
        raise InvalidStep(f"Depends({provider!r}): a provider takes no parameters, this one needs {required}")
    return Dependency[Any](provider)


class Providers:
    """The opened dependencies of one worker: each provider runs once, at first use, and closes with the worker."""

    def __init__(self, overrides: Mapping[Callable[[], Any], Any] | None = None) -> None:
        self._values: dict[Callable[[], Any], asyncio.Task[Any]] = {}
        self._overrides = dict(overrides or {})
        self._held: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def resolve(self, dependencies: Mapping[str, Dependency[Any]]) -> dict[str, Any]:
        """The values of these dependencies, by parameter name."""
        return {name: await self.get(dependency.provider) for name, dependency in dependencies.items()}

    async def get(self, provider: Callable[[], Any]) -> Any:
        """The value of one provider."""
        if provider in self._overrides:
            return self._overrides[provider]
        task = self._values.get(provider)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            # A provider that failed is tried again by the next step attempt.
            task = self._values[provider] = asyncio.ensure_future(self._open(provider))
        return await asyncio.shield(task)

    async def _open(self, provider: Callable[[], Any]) -> Any:
        if inspect.isasyncgenfunction(provider):
            return await self._hold(asynccontextmanager(provider)())
        if inspect.isgeneratorfunction(provider):
            return await self._hold(_as_async(contextmanager(provider)()))
        value = provider()
        if hasattr(value, "__aenter__"):
            return await self._hold(value)
        return await value if inspect.isawaitable(value) else value

    async def _hold(self, manager: AbstractAsyncContextManager[Any]) -> Any:
        """Enter it in a task that also leaves it: task groups and cancel scopes in a provider ask for that."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        end = asyncio.Event()

        async def hold() -> None:
            async with manager as value:
                opened.set_result(value)
                await end.wait()

        task = asyncio.create_task(hold())
        await asyncio.wait([opened, task], return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            return await task  # raises what opening raised
        self._held.append((end, task))
        return opened.result()

    async def close(self) -> None:
        """Close what was opened, last opened first; all of it, also when some of it raises.

        Raises:
            BaseException: The first thing that closing raised.
        """
        held, self._held = self._held, []
        self._values.clear()
        raised: list[BaseException] = []
        for end, task in reversed(held):
            end.set()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                raised.append(error)
        if raised:
            raise raised[0]


@asynccontextmanager
async def _as_async(manager: AbstractContextManager[Any]) -> AsyncGenerator[Any]:
    with manager as value:
        yield value


_OVERRIDES: ContextVar[Mapping[Callable[..., Any], Any]] = ContextVar(
    "holdfast_overrides", default=MappingProxyType({})
)
_PROVIDERS: ContextVar[Providers | None] = ContextVar("holdfast_providers", default=None)


@contextmanager
def override(values: Mapping[Callable[..., Any], Any]) -> Generator[None]:
    """Give these values to steps that are called outside a worker, by provider."""
    token = _OVERRIDES.set({**_OVERRIDES.get(), **values})
    try:
        yield
    finally:
        _OVERRIDES.reset(token)


@contextmanager
def providing(providers: Providers) -> Generator[None]:
    """Steps called as plain functions inside a running step share the worker's dependencies."""
    token = _PROVIDERS.set(providers)
    try:
        yield
    finally:
        _PROVIDERS.reset(token)


@asynccontextmanager
async def providers_here() -> AsyncGenerator[Providers]:
    """The dependencies of the worker whose step runs here; elsewhere, ones that end with the block."""
    around = _PROVIDERS.get()
    if around is not None:
        yield around
        return
    providers = Providers(_OVERRIDES.get())
    try:
        yield providers
    finally:
        await providers.close()


async def resolve_outside(dependencies: Mapping[str, Dependency[Any]]) -> dict[str, Any]:
    """The dependencies of a step that is called as a plain function.

    Raises:
        NotInWorkflow: There is no worker around and no override for one of them.
    """
    overrides, found = _OVERRIDES.get(), dict[str, Any]()
    providers = _PROVIDERS.get()
    for name, dependency in dependencies.items():
        if dependency.provider in overrides:
            found[name] = overrides[dependency.provider]
        elif providers is not None:
            found.update(await providers.resolve({name: dependency}))
        else:
            provider = getattr(dependency.provider, "__name__", "provider")
            raise NotInWorkflow(
                f"{name!r} = {dependency!r} is opened by a worker; outside one pass {name}=... or use "
                f"holdfast.testing.override({{{provider}: value}})"
            )
    return found
