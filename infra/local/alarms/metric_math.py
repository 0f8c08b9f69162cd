"""As much of CloudWatch's metric math as the templates' alarms need: numbers, comparisons, IF and FILL.

None stands for a period without a value.

Amazon CloudWatch User Guide, "Using math expressions with CloudWatch metrics".
"""

import ast
import operator
from collections.abc import Callable, Mapping

Value = float | None


class NotUnderstood(ValueError):
    """An expression with something in it that isn't evaluated here."""


_BINARY: Mapping[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(expression: str, values: Mapping[str, Value]) -> Value:
    """The value of an expression in one period; None where it has none, as where it would divide by zero.

    Args:
        values: of each metric by its id.

    Raises:
        NotUnderstood: the expression has another function or operator, or a name that `values` lacks.
    """
    try:
        return _value(ast.parse(expression, mode="eval").body, values)
    except SyntaxError:
        raise NotUnderstood(f"the expression {expression!r} is none of arithmetic, comparisons, IF and FILL") from None


def _value(node: ast.expr, values: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            return _combined(operation, _value(left, values), _value(right, values))
        case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _BINARY:
            return _combined(operation, _value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, filling]):
            found = _value(metric, values)
            return _value(filling, values) if found is None else found
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            truth = _value(condition, values)
            return None if truth is None else _value(then if truth else otherwise, values)
    raise NotUnderstood(f"{ast.unparse(node)} of a metric expression is not evaluated here; add it to {__name__}")


def _combined(operation: ast.AST, left: Value, right: Value) -> Value:
    if left is None or right is None or (isinstance(operation, ast.Div) and right == 0):
        return None
    return float(_BINARY[type(operation)](left, right))
