"""`import nearnorm` costs nothing, and says what an estimator needs where that is missing."""

import subprocess
import sys

CHEAP = """
import sys, nearnorm
heavy = {"numpy", "torch", "sklearn", "pyarrow", "httpx", "pydantic"} & set(sys.modules)
assert not heavy, heavy
assert "NearnormDetector" in dir(nearnorm)
sys.modules["sklearn"] = None
try:
    from nearnorm import NearnormDetector
except ImportError as error:
    assert "nearnorm.NearnormDetector needs the module sklearn" in str(error), error
    assert "pip install 'nearnorm[cpu,training]'" in str(error), error
else:
    raise AssertionError("imported")
"""


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", CHEAP], check=True)
