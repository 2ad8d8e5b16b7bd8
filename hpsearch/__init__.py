"""hpsearch: automatic hyperparameter search with one honest test figure."""

__version__ = "0.1.0"
