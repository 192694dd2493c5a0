"""From a study to figures, tables of numbers and one page."""
