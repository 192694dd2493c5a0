"""cathoscope: raw in situ measurements of battery cathode particles to numbers with error bars.

In a notebook: ``import cathoscope as cs; study = cs.open("study.zarr"); study["rod-1"]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "figures", "numbers", "open", "report", "run"]

if TYPE_CHECKING:
    from cathoscope.notebook import compare, figures, numbers, open, report, run


def __getattr__(name: str) -> Any:
    """Numerical libraries take seconds to load: they are when something is asked for."""
    if name in __all__:
        from cathoscope import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
