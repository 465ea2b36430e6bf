"""Makes methods of `Client` and of `AsyncClient` from one description: what a call does, not how its steps are done.

`@call` describes a call by its steps, `@events` a stream of events, `@download` and `@chunks` a file. In a client that
awaits, the first and the third are awaited, and the others are iterated over with `async for`.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar, overload

from tasks.client.steps import Steps
from tasks.client.transport import AsyncDownload, AsyncHttpTransport, Download, HttpTransport
from tasks.schemas import JobEvent

P = ParamSpec("P")
T = TypeVar("T")
File: TypeAlias = tuple[str, Mapping[str, Any]]
"""Path and parameters of a file."""


class Blocking:
    """A client whose methods return when they are done."""

    _http: HttpTransport


class Awaiting:
    """A client whose methods are awaited."""

    _http: AsyncHttpTransport


class _Described(Generic[P, T]):
    """What all descriptions share: the method that describes, with its name, documentation and parameters."""

    how = ""
    """The method of the transport that does it."""

    def __init__(self, described: Callable[Concatenate[Any, P], T]) -> None:
        self.described = described
        functools.update_wrapper(self, described)  # pyrefly: ignore[bad-argument-type] -- it has what a function is documented by

    def _bound(self, client: Any) -> Any:
        if client is None:
            return self

        @functools.wraps(self.described)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            wanted = self.described(client, *args, **kwargs)
            do = getattr(client._http, self.how)
            return do(*wanted) if isinstance(wanted, tuple) else do(wanted)

        return method


class call(_Described[P, Steps[T]], Generic[P, T]):  # noqa: N801 -- a decorator
    """A call by its steps."""

    how = "run"

    @overload
    def __get__(self, client: None, owner: type) -> "call[P, T]": ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        """The method of a client."""
        return self._bound(client)


class events(_Described[P, Steps[None]], Generic[P]):  # noqa: N801 -- a decorator
    """A stream of events of a job."""

    how = "iterate"

    @overload
    def __get__(self, client: None, owner: type) -> "events[P]": ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[JobEvent]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[JobEvent]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        """The method of a client."""
        return self._bound(client)


class download(_Described[P, File], Generic[P]):  # noqa: N801 -- a decorator
    """A file with its name."""

    how = "download"

    @overload
    def __get__(self, client: None, owner: type) -> "download[P]": ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Download]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, AsyncDownload]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        """The method of a client."""
        return self._bound(client)


class chunks(_Described[P, File], Generic[P]):  # noqa: N801 -- a decorator
    """A file in chunks alone."""

    how = "chunks"

    @overload
    def __get__(self, client: None, owner: type) -> "chunks[P]": ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[bytes]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[bytes]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        """The method of a client."""
        return self._bound(client)
