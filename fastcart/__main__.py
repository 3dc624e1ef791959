"""``python -m fastcart`` is the command ``fastcart``."""

from fastcart.cli import program

if __name__ == "__main__":
    program()
