"""The base of all sections of a run file."""

from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)


class Section(BaseModel):
    """A section of a run file: closed, strict, immutable, with finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    _newer: ClassVar[frozenset[str]] = frozenset()
    """Keys that are left out at their default, so that the digests of older runs stay the same."""

    @model_serializer(mode="wrap")
    def _leave_out_newer(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = write(self)
        fields = type(self).model_fields
        for name in self._newer & tree.keys():
            if getattr(self, name) == fields[name].default:
                del tree[name]
        return tree


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("expected a path without NUL characters")
    return path


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
"""A path in a run file."""
