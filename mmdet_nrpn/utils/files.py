from pathlib import Path


def can_become_file(path: Path) -> bool:
    """Whether a path can be written as a file: it is no folder, and nothing above it is a file."""
    above = next(parent for parent in path.absolute().parents if parent.exists())
    return above.is_dir() and not path.is_dir()
