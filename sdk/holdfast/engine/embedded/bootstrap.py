"""Started as a script: runs the supervisor without importing the packages above it.

Those load Temporal's SDK and pydantic, which cost a supervisor ten times its start-up time and memory. So the
parents are registered as empty packages that only know where their modules are.
"""

import sys
import types
from pathlib import Path

here = Path(__file__).resolve().parent
for name, folder in (
    ("holdfast", here.parents[1]),
    ("holdfast.engine", here.parent),
    ("holdfast.engine.embedded", here),
):
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package

if __name__ == "__main__":
    from holdfast.engine.embedded.supervisor import main

    main(sys.argv[1:])
