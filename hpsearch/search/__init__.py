"""The search: boxes and how they change, rounds and what follows them. It knows no database.

`NarrowingSampler` is the same search for any Optuna study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.search.sampler import NarrowingSampler

__all__ = ["NarrowingSampler"]


def __getattr__(name: str) -> Any:
    # Optuna is imported by who asks for its sampler only.
    if name == "NarrowingSampler":
        from hpsearch.search.sampler import NarrowingSampler

        return NarrowingSampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
