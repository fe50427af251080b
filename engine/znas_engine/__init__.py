"""The evaluator half of znas-engine: masks in, scores out. Importing it loads no framework."""

__version__ = "0.1.0"
