"""One function of workflow code: what it breaks, and which other functions it reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from holdfast.spec.audit.code import bans, cancel, order, shared
from holdfast.spec.audit.code.bans import Ban
from holdfast.spec.audit.code.hit import Hit
from holdfast.spec.audit.code.order import Order
from holdfast.spec.audit.code.resolve import Frame, Resolver
from holdfast.spec.audit.code.scope import Class, Function, Module, lambda_scope
from holdfast.spec.audit.code.shared import Shared
from holdfast.spec.audit.code.tree import FunctionNode, inside, root_name
from holdfast.spec.audit.code.values import SET, ClassRef, External, FunctionRef, Object, Value

_NOT_REPLAYING = "temporalio.workflow.unsafe.is_replaying"
_BUILT = ("__new__", "__init__", "__post_init__", "model_post_init")
_CONTEXT = ("__enter__", "__exit__", "__aenter__", "__aexit__")


class Walk(ast.NodeVisitor):
    """Goes through a function in the order of its source.

    Attributes:
        hits: What it breaks.
        reached: The functions of the file that it calls or hands on, each with the class it is called on.
    """

    def __init__(self, module: Module, resolver: Resolver, changing: Shared) -> None:
        self.hits: list[Hit] = []
        self.reached: list[tuple[Function, Class | None]] = []
        self._module = module
        self._resolver = resolver
        self._shared = changing
        self._order = Order()
        self._frame = Frame(module.scope)
        self._cancelled = frozenset[str]()
        self._live_only = False
        self._ending = False
        self._reported: set[ast.AST] = set()
        self._part_of_change: set[tuple[ast.AST, str]] = set()

    def run(self, function: Function, receiver: Class | None) -> None:
        """Go through a function."""
        self._frame = self._resolver.frame(function, receiver)
        self._cancelled = cancel.cancelled_names(function.node)
        self._visit_decorators(function)
        for statement in function.node.body:
            self.visit(statement)

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        """A function in the function, taken as part of it."""
        function = self._module.functions[node]
        for expression in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(expression)
        if function.role == "plain":
            outside = self._frame
            self._frame = self._resolver.frame(function, None, outside)
            self._frame.receiver = outside.receiver
            for statement in node.body:
                self.visit(statement)
            self._frame = outside

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """As a function in the function."""
        outside = self._frame
        self._frame = Frame(lambda_scope(node, outside.scope), outside, receiver=outside.receiver)
        self.visit(node.body)
        self._frame = outside

    def visit_Call(self, node: ast.Call) -> None:
        """What is called, and with what."""
        called = self._value(node.func)
        path = called.path if isinstance(called, External) else None
        self._report_changes(node)
        root = root_name(node.func)
        if path is not None and (root is not None or not bans.is_made_by_ban(path)):
            count = len(node.args) + len(node.keywords)
            if (ban := bans.call_ban(path, count)) is not None:
                self._ban(node, path, ban)
            if path.startswith(bans.SOURCES) and root and self._shared.variable(root.id, self._frame):
                self._ban(node, path, Ban(bans.CHANCE, bans.FIXES[bans.CHANCE]))
        for argument in self._order.enter(node, path):
            self._iterated(argument)
        if path == "builtins.set.pop":
            self._hit(order.CODE, node, "pop takes whichever element of the set comes first", order.FIX)
        if isinstance(called, ClassRef):
            self._reach_methods(called.cls, *_BUILT)
            self._visit_factories(called.cls, node)
        elif isinstance(called, FunctionRef):
            self.reached.append((called.function, called.receiver))
        elif isinstance(called, Object):
            self._reach_methods(called.cls, "__call__")
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)
        elif not isinstance(node.func, ast.Name):
            self.visit(node.func)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.visit(argument)

    def visit_Name(self, node: ast.Name) -> None:
        """A variable that is read or changed, a function that is handed on."""
        self._report_changes(node)
        if not isinstance(node.ctx, ast.Load):
            self._frame.env.pop(node.id, None)
            return
        if node.id in self._shared.changed and (
            self._shared.variable(node.id, self._frame) or self._declared_global(node.id)
        ):
            self._reads_shared(node, node.id)
        self._referred(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """An attribute that is read or changed, a function that is handed on."""
        self._report_changes(node)
        if isinstance(node.ctx, ast.Load):
            name = self._shared.attribute(node, self._frame)
            if name is not None and name in self._shared.changed:
                self._reads_shared(node, name)
            self._referred(node)
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """What `x[i] = y` and `del x[i]` change."""
        self._report_changes(node)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Learn what a variable holds."""
        self.visit(node.value)
        value = self._value(node.value)
        for target in node.targets:
            self.visit(target)
            if isinstance(target, ast.Name):
                self._learn(target, value)
            elif isinstance(target, ast.Tuple | ast.List):
                self._iterated(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Learn what a variable holds."""
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)
        if isinstance(node.target, ast.Name):
            annotated = self._resolver.annotated(node.annotation, self._frame)
            self._learn(node.target, annotated or self._value(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """A variable that is read and changed; what it holds stays of its kind."""
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self._report_changes(node.target)
        else:
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """Learn what a variable holds."""
        self.visit(node.value)
        self._learn(node.target, self._value(node.value))

    def visit_For(self, node: ast.For) -> None:
        """What a loop goes through."""
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """What a comprehension goes through, where its order shows; see `_comprehension`."""
        self.visit(node.iter)
        self.visit(node.target)
        for condition in node.ifs:
            self.visit(condition)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        """The clauses come first: they give the names their values."""
        orderly = isinstance(node, ast.SetComp) and not any(isinstance(n, ast.Await) for n in ast.walk(node))
        for clause in node.generators:
            if self._order.matters(node) and not orderly:
                self._iterated(clause.iter)
            self.visit(clause)
        for result in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
            self.visit(result)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def visit_Starred(self, node: ast.Starred) -> None:
        """`f(*x)`, `[*x]`."""
        if isinstance(node.ctx, ast.Load):
            self._iterated(node.value)
        self.visit(node.value)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        """`yield from x`."""
        self._iterated(node.value)
        self.visit(node.value)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        """Context managers of the file, and `suppress`."""
        if isinstance(node, ast.With):
            self.hits += cancel.check_suppress(node, self._path, self._cancelled)
        for item in node.items:
            self.visit(item.context_expr)
            value = self._value(item.context_expr)
            if isinstance(value, Object):
                self._reach_methods(value.cls, *_CONTEXT)
            if item.optional_vars is not None:
                self.visit(item.optional_vars)
                if isinstance(item.optional_vars, ast.Name):
                    self._learn(item.optional_vars, value)
        for statement in node.body:
            self.visit(statement)

    visit_AsyncWith = visit_With

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        """Handlers that swallow a cancellation. What is cleaned up before it is raised again may."""
        if not self._ending:
            self.hits += cancel.check_try(node, self._path, self._cancelled)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)
        outside = self._ending
        for handler in node.handlers:
            self._ending = outside or cancel.raises(handler)
            self.visit(handler)
        self._ending = True
        for statement in node.finalbody:
            self.visit(statement)
        self._ending = outside

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """What it catches is no use of it."""
        for statement in node.body:
            self.visit(statement)

    def visit_If(self, node: ast.If) -> None:
        """`if not workflow.unsafe.is_replaying():` guards what a replay would repeat."""
        match node.test:
            case ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=guard)) if (
                self._path(guard) == _NOT_REPLAYING
            ):
                self._live_only, outside = True, self._live_only
                for statement in node.body:
                    self.visit(statement)
                self._live_only = outside
                for statement in node.orelse:
                    self.visit(statement)
            case _:
                self.generic_visit(node)

    def _learn(self, variable: ast.Name, value: Value) -> None:
        known = isinstance(value, External) and bans.is_made_by_ban(value.path)
        self._frame.env[variable.id] = None if known else value

    def _value(self, node: ast.expr | None) -> Value:
        return self._resolver.value(node, self._frame)

    def _path(self, node: ast.expr) -> str | None:
        value = self._value(node)
        return value.path if isinstance(value, External) else None

    def _referred(self, node: ast.Name | ast.Attribute) -> None:
        value = self._value(node)
        if isinstance(value, FunctionRef):
            self.reached.append((value.function, value.receiver))
        elif isinstance(value, External) and not value.instance and (ban := bans.reference_ban(value.path)):
            self._ban(node, value.path, ban)

    def _ban(self, node: ast.AST, path: str, ban: Ban) -> None:
        if ban.code == bans.OUTPUT and self._live_only:
            return
        name = path.removeprefix("builtins.").replace("()", "")
        self._hit(ban.code, node, f"{name} {bans.REASONS[ban.code]}", ban.fix)

    def _hit(self, code: str, node: ast.AST, message: str, fix: str) -> None:
        self.hits.append(Hit(code, node, message, fix))

    def _iterated(self, node: ast.expr) -> None:
        if self._value(node) is SET and self._order.matters(node):
            written = ast.unparse(node)
            shown = written if len(written) <= 40 else f"{written[:37]}..."
            self._hit(order.CODE, node, f"{shown} is a set: its order differs between processes", order.FIX)

    def _report_changes(self, node: ast.AST) -> None:
        for name in self._shared.changes(node, self._frame):
            if node not in self._reported:
                self._reported.add(node)
                self._part_of_change.update((inner, name) for inner in ast.walk(node))
                message = (
                    f"{name!r} belongs to the module and outlives the run: a replay would change it again"
                )
                fix = "Keep it in a local variable or in the run's state, or change it in {step}."
                self._hit(shared.CODE, node, message, fix)

    def _reads_shared(self, node: ast.AST, name: str) -> None:
        if (node, name) in self._part_of_change:
            return
        message = f"{name!r} changes (line {self._shared.changed[name]}): a replay may see another value"
        self._hit(shared.CODE, node, message, "Pass it as an argument, or read it in {step}.")

    def _declared_global(self, name: str) -> bool:
        return any(name in scope.globals for scope in self._frame.scope.visible())

    def _reach_methods(self, cls: Class, *names: str) -> None:
        for name in names:
            if (method := self._resolver.method(cls, name)) is not None:
                self.reached.append((method, cls))

    def _visit_decorators(self, function: Function) -> None:
        """What runs at each call because of a decorator: the functions that it wraps around, and validators."""
        for decorator in function.node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(wrapper := self._value(called), FunctionRef) and wrapper.function.role == "plain":
                for node in inside(wrapper.function.node.body):
                    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                        self.reached.append((self._module.functions[node], None))
            if isinstance(decorator, ast.Call) and function.role == "entry":
                for keyword in decorator.keywords:
                    if keyword.arg == "validator":
                        self.visit(keyword.value)

    def _visit_factories(self, cls: Class, call: ast.Call) -> None:
        """Defaults that are made when an object is: `field(default_factory=uuid4)`."""
        given = {keyword.arg for keyword in call.keywords}
        if None in given or call.args:
            return
        for base in self._resolver.bases(cls):
            for name, factory in _factories(base):
                if name not in given:
                    self.visit(factory)


def _factories(cls: Class) -> Iterator[tuple[str, ast.expr]]:
    for statement in cls.node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(keywords=keywords)):
                for keyword in keywords:
                    if keyword.arg == "default_factory":
                        yield name, keyword.value
            case _:
                pass
