"""The terms between an actor and its owner: what a behaviour decides, and who does it.

A behaviour is pure and returns a Decision: a state and effects. An effect is any object; the stage knows what it means and
performs it, at once or, with PAUSE, later.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from supervisors.actor import Actor

S = TypeVar("S")
M_contra = TypeVar("M_contra", contravariant=True)

Effect: TypeAlias = Any  # the runtime hands effects through and looks at nothing but `then`


class Pause:
    """The type of PAUSE."""

    __slots__ = ()


PAUSE: Final = Pause()


class Decision(Struct, Generic[S], frozen=True, gc=False):
    """What a behaviour wants: this state, and these effects in this order. Its states are acyclic, so it is not tracked."""

    state: S
    effects: tuple[Effect, ...] = ()


class Later(Struct, frozen=True, kw_only=True):
    """A base for effects whose outcome the turn needs.

    Any effect may have a `then`; deriving from this is a way to declare it. Once the effect is done, `then(state, value)` is called
    with the value given to `resume`, or None if the effect did not pause. It is as pure as `decide`, and the effects of its
    Decision run before the remaining ones of the turn.
    """

    then: Callable[[Any, Any], Decision[Any]] | None = None


class Behaviour(Protocol[S, M_contra]):
    """The rules of an actor. Pure: no clock, no chance, no I/O."""

    def decide(self, state: S, message: M_contra, /) -> Decision[S]:
        """The new state and the effects that follow from a message."""
        ...


class Stage(Protocol):
    """Where effects become deeds. One stage usually serves many actors."""

    def perform(self, actor: "Actor[Any, Any]", effect: Any, /) -> Pause | None:
        """Do the effect. None: it is done. PAUSE: `actor.resume` or `actor.fail` will be called, once, perhaps already was."""
        ...

    def crashed(self, actor: "Actor[Any, Any]", message: Any, error: Exception, /) -> None:
        """The turn of this message crashed and the state is as before it. Answer whoever waits. Must not raise."""
        ...

    def gave_up(self, actor: "Actor[Any, Any]", error: Exception, /) -> None:
        """The actor crashed too often and has stopped. Must not raise."""
        ...
