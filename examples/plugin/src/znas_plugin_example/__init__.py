"""What a package adds to znas-engine: one file per kind of thing, named in pyproject.toml."""
