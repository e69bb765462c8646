import sys


def remark(text: str) -> None:
    """Tell what may be meant, and is no error."""
    print(text, file=sys.stderr)
