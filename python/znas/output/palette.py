"""The colours of drawings, and what a page's style calls them."""

from __future__ import annotations

#: On a page of PAGE: letters, what stands back (axes), and lines of a grid.
TEXT, PAGE, QUIET, LINE = "#1c1e21", "#ffffff", "#5f6470", "#d5d8dd"
#: Of marks, by turns. Each has a contrast of 3 to 1 and more to a white and to a dark page (#16181c), and any
#: two differ for those who lack a kind of cones too; tests/znas/test_figures.py measures both.
SERIES = ("#1058f8", "#c82000", "#889878", "#a828b8", "#606868", "#4090f8", "#c060b8", "#f86010")
#: Colour -> the variable of a page's style that it becomes.
VARIABLES = {TEXT: "--text", PAGE: "--page", QUIET: "--quiet", LINE: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)
}
