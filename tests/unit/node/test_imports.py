from __future__ import annotations

import subprocess
import sys

import pytest

_ELSEWHERE = """
import sys
sys.platform = "darwin"
sys.modules["millpond.node.linux"] = sys.modules["millpond.node.sandbox"] = None
import {module}
"""
_MODULES = ("millpond.node.agent", "millpond.node.launcher", "millpond.batch.providers.local")


@pytest.mark.parametrize("module", _MODULES)
def test_what_needs_linux_is_not_imported_before_it_is_needed(module: str) -> None:
    subprocess.run([sys.executable, "-c", _ELSEWHERE.format(module=module)], check=True)


def test_agent_loads_nothing_of_the_service() -> None:
    """What an agent loads is what every node costs."""
    program = "import sys, millpond.node.agent, millpond.node.transfer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"sqlalchemy", "starlette", "uvicorn", "httpx", "asyncio", "rich", "typer", "azure"} & set(loaded)
    assert not [name for name in loaded if name.startswith(("millpond.batch", "millpond.blob", "millpond.cli"))]
