"""``python -m cathoscope``."""

from cathoscope.cli import main

main()
