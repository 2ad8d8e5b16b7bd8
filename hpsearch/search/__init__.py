"""Pure search: what to try, how to narrow, what won."""
