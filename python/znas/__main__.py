"""`python -m znas` is `znas-engine`."""

from znas.cli import main

main()
