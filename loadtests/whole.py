"""An argument of a command line that is a whole number within bounds."""

import argparse


class Whole:
    """For `type` of an argument: from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        value = int(text)
        if not self._least <= value <= self._most:
            raise argparse.ArgumentTypeError(f"{value} is not between {self._least} and {self._most}")
        return value
