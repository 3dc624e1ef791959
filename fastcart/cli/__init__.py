"""The command ``fastcart``: a file for each command, which adds its arguments, and what they share."""

from fastcart.cli.command_line import main, program

__all__ = ["main", "program"]
