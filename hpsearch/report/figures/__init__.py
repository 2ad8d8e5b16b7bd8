"""A study's figures: one file for each, drawn from documents alone; the only user of matplotlib."""
