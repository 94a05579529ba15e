"""The plugin guide's code runs as it is written."""

import re
import types
from pathlib import Path

from bot import catalog
from bot.declare import Action, Query
from bot.flow.look import Core

GUIDE = Path(__file__).parents[2] / "plugins" / "README.md"


def guide_plugin() -> types.ModuleType:
    module = types.ModuleType("guide")
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)  # noqa: S102 - our own page
    return module


def test_the_guides_plugin_loads_beside_the_core() -> None:
    loaded = catalog.load((), extra=(Core(), guide_plugin()))
    assert isinstance(loaded.commands["quiet"], Query)
    assert isinstance(loaded.commands["rest"], Action)
    assert any(rule.__name__ == "same_rack" for rule in loaded.rules)
