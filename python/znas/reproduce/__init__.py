"""The paper's tables and figures, and the baselines beside them."""
