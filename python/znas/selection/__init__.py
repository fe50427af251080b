"""From scores to a genotype: one operation per edge, and the edges that are kept."""
