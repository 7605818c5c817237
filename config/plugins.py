"""Plug-in classes from their configuration: the fields of the dataclass are the keys.

From each dataclass a pydantic model is derived that has the keys as people write them (`timeout: 10s` for
`timeout_s: float`). The same model checks the keys, builds the plug-in, and describes itself as JSON Schema.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, create_model

from config.values import Duration, Number, Switch, Whole, written_duration

# Model fields get a prefix because a key such as `json` or `schema` would hide a method of BaseModel.
_PREFIX = "field_"
_READINGS = "Readings"


@functools.cache
def shape_of(cls: Any) -> Any:
    """The type that reads this plug-in's keys and builds it: for TypeAdapter and for `config.shape`."""
    return Annotated[_model(cls), AfterValidator(functools.partial(_construct, cls))]


@functools.cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """Validates a mapping of keys into an instance of `cls`."""
    return TypeAdapter(shape_of(cls))


def keys_of(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """The keys of a plug-in as written in YAML, in the order of its fields."""
    return {_key(field): field for field in dataclasses.fields(cls) if field.init}


def describe(cls: type[Any]) -> tuple[str, Mapping[str, str]]:
    """What a class says of itself, and of each field by `name: text` in its docstring and its bases'."""
    purpose = ""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            purpose, own = _told_by(base)
            told |= own
    return purpose, told


def _told_by(cls: type[Any]) -> tuple[str, dict[str, str]]:
    text = " ".join((cls.__doc__ or "").split())
    # What a check reads is told of the check, though it stands after the last field.
    names = [*(field.name for field in dataclasses.fields(cls) if field.init), _READINGS]
    name = f"`?(?:{'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})`?"
    start = re.compile(rf"(?:^|(?<=[.;:] )){name}(?:(?:, | or ){name})*(?: \([^)]*\))?: ")
    passages = list(start.finditer(text))
    told: dict[str, str] = {}
    for passage, following in itertools.zip_longest(passages, passages[1:]):
        end = following.start() if following is not None else len(text)
        said = text[passage.end() : end].strip().rstrip(";.") + "."
        for told_name in re.findall(name, passage[0].partition(" (")[0]):
            told[told_name.strip("`")] = _sentence(said)
    purpose = text[: passages[0].start()].strip() if passages else text
    readings = told.pop(_READINGS, None)
    return (f"{purpose} {_READINGS}: {readings[0].lower()}{readings[1:]}" if readings else purpose), told


def _sentence(text: str) -> str:
    """With a capital, unless it begins with an example such as a URL."""
    return text[0].upper() + text[1:] if re.match(r"[a-z]+[ ,]", text) else text


def _key(field: dataclasses.Field[Any]) -> str:
    written = field.metadata.get("yaml")
    if isinstance(written, str):
        return written
    return field.name.removesuffix("_s") if _is_duration(field) else field.name


def _is_duration(field: dataclasses.Field[Any]) -> bool:
    # With postponed annotations `field.type` is text; both forms start with the word.
    said = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    return field.name.endswith("_s") and "float" in said


@functools.cache
def _model(cls: Any) -> type[BaseModel]:
    hints = get_type_hints(cls, include_extras=True)
    _, told = describe(cls)
    definitions: dict[str, Any] = {}
    for key, field in keys_of(cls).items():
        shape = _rewritten(hints[field.name], Duration if _is_duration(field) else Number)
        extra: dict[str, Any] = {"alias": key, "description": told.get(field.name)}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            definitions[_PREFIX + field.name] = (shape, Field(**extra))
        else:
            # The default itself stays in the dataclass; the schema shows it as it would be written.
            shown = _shown_default(field)
            schema_extra = {} if shown is None else {"default": shown}
            definitions[_PREFIX + field.name] = (
                shape,
                Field(default=None, json_schema_extra=schema_extra, **extra),
            )
    purpose, _ = describe(cls)
    return create_model(
        cls.__name__,
        __config__=ConfigDict(extra="forbid", frozen=True, validate_default=False),
        __doc__=purpose,
        **definitions,
    )


def _construct(cls: type[Any], model: BaseModel) -> Any:
    given = {name.removeprefix(_PREFIX): getattr(model, name) for name in model.model_fields_set}
    return cls(**given)


def _rewritten(shape: Any, number: Any) -> Any:
    """The same type with dataclasses replaced by what reads them, and float by `number`."""
    if shape in (float, int, bool):
        return {float: number, int: Whole, bool: Switch}[shape]
    if dataclasses.is_dataclass(shape) and isinstance(shape, type):
        return shape_of(shape)
    origin, args = get_origin(shape), get_args(shape)
    if origin is None or origin is Literal:
        return shape
    if origin is Annotated:
        return Annotated[_rewritten(args[0], number), *args[1:]]
    parts = tuple(part if part is ... else _rewritten(part, number) for part in args)
    if origin in (Union, types.UnionType):
        return Union[parts]  # noqa: UP007 the parts are known at run time only
    return origin[parts]


def _shown_default(field: dataclasses.Field[Any]) -> Any:
    """The default as it would be written in YAML; None where there is nothing to show."""
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    if _is_duration(field) and isinstance(value, float | int):
        return written_duration(float(value))
    if isinstance(value, tuple | frozenset):
        value = sorted(value) if isinstance(value, frozenset) else list(value)
    if isinstance(value, Mapping):
        value = dict(value)
    simple = isinstance(value, str | int | float | bool) or value in ([], {})
    plain_list = isinstance(value, list) and all(isinstance(item, str | int | float) for item in value)
    return value if (simple or plain_list) and not isinstance(value, SecretStr) else None
