"""The base of records in JSON or TOML: manifests, aliases, ledgers, and sections of run files."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Frozen(BaseModel):
    """Base of the records: strict, closed, immutable, and without NaN, which JSON lacks.

    A record may gain keys later. Those are left out of what is written at their default. So the
    digest of an older record stays the same, and older readers, which refuse unknown keys, read a
    record that does not use the newer ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    _newer: ClassVar[frozenset[str]] = frozenset()
    """The keys that are left out at their default."""

    @model_serializer(mode="wrap")
    def _leave_out_newer(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = write(self)
        fields = type(self).model_fields
        for name in self._newer & tree.keys():
            if getattr(self, name) == fields[name].get_default(call_default_factory=True):
                del tree[name]
        return tree
