"""Which type the configuration has at a path: for the keys a place knows, and for where its secrets are."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, Tag
from pydantic.fields import FieldInfo

from config.reading import Keys
from config.values import SecretText


def options(shape: Any) -> list[Any]:
    """The alternatives of a type, without None and without annotations; secrets stay marked."""
    if get_origin(shape) is Annotated:
        inner, *notes = get_args(shape)
        return [SecretStr] if any(isinstance(note, SecretText) for note in notes) else options(inner)
    if get_origin(shape) in (Union, types.UnionType):
        return [option for part in get_args(shape) for option in options(part)]
    return [] if shape is type(None) else [shape]


def fields_of(shape: Any) -> dict[str, FieldInfo]:
    """The fields by the key they have in YAML, of every model that may stand there; empty where none may."""
    return {
        field.alias or name: field
        for option in options(shape)
        if isinstance(option, type) and issubclass(option, BaseModel)
        for name, field in option.model_fields.items()
    }


def below(shape: Any, key: str | int) -> Any:
    """The type one step down, None where it is unknown (free-form, or no such key)."""
    field = fields_of(shape).get(str(key))
    if field is not None:
        return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    for option in options(shape):
        origin, args = get_origin(option), get_args(option)
        if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(key, str):
            return args[1]
        if isinstance(origin, type) and issubclass(origin, Sequence | frozenset) and isinstance(key, int):
            return args[0] if origin is not tuple or args[-1] is ... else args[min(key, len(args) - 1)]
    return None


def at(shape: Any, path: Keys) -> Any:
    """The type at that path, None where it is unknown."""
    for key in path:
        if shape is None:
            return None
        shape = below(shape, key)
    return shape


def along(shape: Any, loc: Iterable[int | str]) -> Any:
    """The type at the place of a pydantic error, whose path names the members of unions, too."""
    for part in loc:
        shape = _member(shape, part) or below(shape, part) or shape
    return shape


def _member(shape: Any, tag: int | str) -> Any:
    """The member of a union that is tagged so, None if there is none."""
    inner, notes = (
        (get_args(shape)[0], get_args(shape)[1:]) if get_origin(shape) is Annotated else (shape, ())
    )
    if any(isinstance(note, Tag) and note.tag == tag for note in notes):
        return inner
    parts = get_args(inner) if get_origin(inner) in (Union, types.UnionType) else ()
    return next((found for part in parts if (found := _member(part, tag)) is not None), None)


def secret_paths(shape: Any, value: Any, path: Keys = ()) -> Iterator[Keys]:
    """Paths of the values that the shape declares secret, or may be."""
    if shape is None or value is None:
        return
    if SecretStr in options(shape):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            # A misspelt key still holds what it was meant to hold.
            meant = (
                key
                if below(shape, key)
                else next(iter(difflib.get_close_matches(key, fields_of(shape))), key)
            )
            yield from secret_paths(below(shape, meant), item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from secret_paths(below(shape, index), item, (*path, index))


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def empty_paths(shape: Any, value: Any, path: Keys = ()) -> Iterator[Keys]:
    """Paths of the known keys that were written without a value; free-form mappings may hold nulls."""
    if isinstance(value, dict):
        known = fields_of(shape)
        for key, item in value.items():
            if item is None and key in known:
                yield (*path, key)
            yield from empty_paths(below(shape, key) if shape is not None else None, item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from empty_paths(below(shape, index) if shape is not None else None, item, (*path, index))
