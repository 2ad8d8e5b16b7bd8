"""The NumPy network: populations of small models trained side by side, in float32 or float64."""
