"""The random supernet: how its weights are drawn and how its activations are normalised."""
