"""How workers are started and stopped."""
