"""Where rows come from, how they are split, and the sealed test rows."""
