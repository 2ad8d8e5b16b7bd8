"""The NumPy network: populations of small models trained side by side, float32 throughout."""
