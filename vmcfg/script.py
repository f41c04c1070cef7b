"""Python scripts that carry modules of vmcfg to a host without it.

A script requires Python 3.7 and its standard library, as do the modules that it carries. They may
use newer syntax for types in annotations, which are not evaluated there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vmcfg import files

SCRIPT = '''\
#!/usr/bin/env python3
"""{doc}"""

import __future__
import sys
import types
import typing

MODULES = {modules}

if not hasattr(typing, "Literal"):  # Python 3.7
    typing.Literal = type("Literal", (), {{"__class_getitem__": classmethod(lambda *_: str)}})
for name, source in MODULES.items():
    parent, _, last = name.rpartition(".")
    if parent not in sys.modules:
        package = sys.modules[parent] = types.ModuleType(parent)
        package.__path__ = []
    module = sys.modules[name] = types.ModuleType(name)
    setattr(sys.modules[parent], last, module)
    file = name.replace(".", "/") + ".py"
    flags = __future__.annotations.compiler_flag
    exec(compile(source, file, "exec", flags, True), module.__dict__)

{body}'''


def script(doc: str, modules: Iterable[str], body: str) -> str:
    """Return a script that loads `modules`, by their full names, and then executes `body`.

    Each module imports only the standard library and those before it. `doc` is one sentence.
    """
    root = Path(__file__).parent.parent
    sources = {
        name: files.read(str(root / f"{name.replace('.', '/')}.py")).decode() for name in modules
    }
    return SCRIPT.format(doc=doc, modules=ascii(sources), body=body)
