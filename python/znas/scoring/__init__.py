"""Scores of architectures as themselves: in batches that survive a kill, as a table with percentiles."""
