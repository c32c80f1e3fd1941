"""``python -m igan_zoo`` is the command line."""

from igan_zoo.cli import main

main()
