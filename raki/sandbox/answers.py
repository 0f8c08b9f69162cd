"""What a process in the sandbox answers: JSON of the form that was asked for, and nothing that runs when it is read."""

import base64
import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import AbstractArray

from raki.errors import RakiError

MOST_BYTES = 64 << 20


class OtherForm(ValueError):
    """An answer isn't of the form that was asked for."""


def form_of(function: Any) -> Any:
    """The type that a function says it returns."""
    while isinstance(function, partial):
        function = function.func
    return typing.get_type_hints(function)["return"]


def encoded(value: Any) -> Any:
    """A value as JSON has it: nothing, numbers, texts, paths, errors, data classes, arrays, and lists and tables."""
    if isinstance(value, RakiError):
        value = {"error": type(value).__name__, "text": str(value)}
    elif isinstance(value, np.ndarray):
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        value = {"dtype": value.dtype.str, "shape": list(value.shape), "content": content}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        value = {"class": type(value).__name__, "fields": fields}
    if isinstance(value, Mapping):
        return {str(key): encoded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def decoded(text: bytes, form: Any) -> Any:
    """The value that JSON stands for, if it is of this form.

    Raises:
        OtherForm: it isn't.
        RakiError: it stands for that.
    """
    try:
        answer = json.loads(text)
        if set(answer) == {"raised"}:
            raise _error(answer["raised"], RakiError)
        if set(answer) == {"defect"}:
            raise OtherForm(_place_of(answer["defect"]))
        return _decoded(answer["returned"], form)
    except OtherForm:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OtherForm(f"the answer's form: {type(error).__name__}") from None


def _decoded(value: Any, form: Any) -> Any:
    origin, arguments = typing.get_origin(form), typing.get_args(form)
    if origin in (typing.Union, types.UnionType):
        return _first_fitting(value, arguments)
    if origin is tuple:
        return _tuple(_of(value, list), arguments)
    if origin is list:
        return [_decoded(one, arguments[0]) for one in _of(value, list)]
    if origin is not None:
        return {key: _decoded(one, arguments[1]) for key, one in _of(value, dict).items()}
    return _plain(value, form)


def _plain(value: Any, form: Any) -> Any:
    if dataclasses.is_dataclass(form):
        return _instance(value, form)
    if issubclass(form, AbstractArray):
        return _array(value, form)
    if issubclass(form, RakiError):
        return _error(value, form)
    if issubclass(form, Path | float):
        return form(_of(value, str if issubclass(form, Path) else float | int))
    return _of(value, form)


def _first_fitting(value: Any, forms: tuple[Any, ...]) -> Any:
    for form in forms:
        try:
            return _decoded(value, form)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    raise OtherForm("none of several forms fits")


def _tuple(values: list[Any], forms: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(forms) == 2 and forms[1] is Ellipsis:
        return tuple(_decoded(one, forms[0]) for one in values)
    return tuple(_decoded(one, form) for one, form in zip(values, forms, strict=True))


def _instance(value: Any, form: Any) -> Any:
    if value["class"] != form.__name__:
        raise OtherForm("another class")
    forms = typing.get_type_hints(form)
    return form(**{name: _decoded(one, forms[name]) for name, one in _of(value["fields"], dict).items()})


def _array(value: Any, form: Any) -> np.ndarray:
    dtype = np.dtype(_of(value["dtype"], str))
    if dtype.kind not in "biufc":
        raise OtherForm("no numbers")
    content = base64.b64decode(_of(value["content"], str), validate=True)
    array = np.frombuffer(content, dtype).reshape(_of(value["shape"], list)).copy()
    if not isinstance(array, form):
        raise OtherForm("another array")
    return array


def _error(value: Any, form: type[RakiError]) -> RakiError:
    known = {kind.__name__: kind for kind in (form, *_kinds_of(form))}
    return known[_of(value["error"], str)](_of(value["text"], str))


def _kinds_of(form: type[RakiError]) -> list[type[RakiError]]:
    return [kind for direct in form.__subclasses__() for kind in (direct, *_kinds_of(direct))]


def _place_of(defect: Any) -> str:
    """An exception's type and place, as far as they are names: whoever took a reader over may write anything there."""
    exception, at = _of(defect["exception"], str), _of(defect["at"], str)
    return f"{exception} at {at}" if re.fullmatch(r"[\w.:]{0,200}", exception + at, re.ASCII) else "no name"


def _of(value: Any, form: Any) -> Any:
    if form is None or form is type(None):
        if value is not None:
            raise OtherForm("something instead of nothing")
        return None
    if not isinstance(value, form) or (isinstance(value, bool) and form is not bool):
        raise OtherForm(f"a {type(value).__name__}")
    return value
