"""What a study will cost, in one line before it begins."""

from __future__ import annotations

from hpsearch.forecast import Forecast
from hpsearch.report.numbers import count, duration

# Two ends of a stretch of time that differ by less are one.
_ALIKE = 1.15
# To start processes, and to import, takes seconds of its own.
_SHORT = 10.0


def plan_line(plan: Forecast, head: str = "Plan") -> str:
    """Counts and time, such as `Plan: 300 trials, ...: about 1 min 3 s with 2 workers.`."""
    parts = [count(plan.trials, "trial")] if plan.trials else []
    if plan.repeats:
        parts.append(f"{count(plan.repeats, 'repeat')} for the noise")
    least, most = plan.confirmation
    if most:
        between = f"{least} to {most}" if least < most else str(most)
        parts.append(f"{between} to confirm")
    if plan.control:
        parts.append(count(plan.control, "control trial"))
    if plan.final:
        parts.append(f"{plan.final} for the test")
    return f"{head}: {', '.join(parts)}: {_time(plan)} with {count(plan.workers, 'worker')}."


def _time(plan: Forecast) -> str:
    if plan.seconds is None:
        return "nobody knows how long, as no network of the space could be timed,"
    least, most = plan.seconds
    if most < _SHORT:
        return "some seconds"
    if most < _ALIKE * least or duration(least) == duration(most):
        return f"about {duration(most)}"
    return f"about {duration(least)} to {duration(most)}"
