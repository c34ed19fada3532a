"""`python -m bot.cli`: the console script without its wrapper."""

from bot.cli import main

main()
