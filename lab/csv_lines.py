from pathlib import Path
from typing import Any, Iterable

import pandas as pd


class CSVLines:
    """What a script measured, in a file that it goes on with.

    Args:
        path (Path): A .csv file, which may be there already.
        digits (int): After the point.
    """

    def __init__(self, path: Path, digits: int) -> None:
        self.path, self.digits = path, digits
        self.lines = pd.read_csv(path) if path.exists() else pd.DataFrame()

    def has(self, **names: Any) -> bool:
        """Whether there is a line of that name, seed and so on."""
        return not self.lines.empty and bool((self.lines[[*names]] == pd.Series(names)).all(axis=1).any())

    def add(self, lines: Iterable[dict]) -> None:
        """Append lines, and write the file."""
        self.lines = pd.concat([self.lines, pd.DataFrame(lines)], ignore_index=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.lines.to_csv(self.path, index=False, float_format=f'%.{self.digits}f')
