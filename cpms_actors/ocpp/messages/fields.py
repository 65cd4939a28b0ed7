"""What the generated messages are made of.

The schemas say "may be absent" and never "may be null". A field declared `Maybe[T] = None` says the same: the decoder sees `T`, so
null is refused, and an absent field keeps the default, which msgspec does not check; the type checker sees `T | None`, which is
what a reader of the attribute gets. Encoding leaves a None out.

A field that is built by hand is not checked against its `Meta`: constraints hold for what was decoded.
"""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

from msgspec import Meta, Struct

T = TypeVar("T")

if TYPE_CHECKING:
    Maybe: TypeAlias = T | None
else:

    class Maybe:
        """`Maybe[T]`: T for the decoder, `T | None` for the type checker."""

        def __class_getitem__(cls, item):
            return item


INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

Integer: TypeAlias = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)]
"""An integer that the schema does not bound: the journal and the database hold 64 bits, so more than these is refused at the door."""

DateTime: TypeAlias = str
"""An RFC 3339 moment as it stood on the wire. The schemas' `format` binds nobody: `base.time.parse_rfc3339` tells whether it is one."""


class Message(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """The root of all messages and their parts: immutable, refuses keys that the schema does not name, encodes no None.

    `gc=False` is safe because a decoded message cannot contain a cycle.
    """


class OpenMessage(Struct, frozen=True, gc=False, omit_defaults=True):
    """The root of the parts that a vendor may extend (CustomDataType): keys the schema does not name are read over and dropped."""


def require_tenths(*values: float | None) -> None:
    """Raise ValueError unless every value is a multiple of 0.1 in decimal, as printed: 21.4 is one although no binary float is.

    The one rule of the schemas that msgspec's `Meta` cannot say of floats (it divides in binary). Called from `__post_init__`, so that
    a decoder turns the ValueError into a ValidationError with the path.
    """
    for value in values:
        if value is not None and round(value, 1) != value:
            raise ValueError("Expected a multiple of 0.1")
