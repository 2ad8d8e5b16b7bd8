"""A study's figures: one file for each, drawn from documents alone; the only user of matplotlib."""

import logging

# It warns of caches and fonts, which are no business of whoever wants a figure.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
