"""Cuts of a sample, each with the number of stars that it removed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from astropy.table import Table


@dataclass(frozen=True)
class Step:
    """One step of a cut flow: what it is, how many rows it removed, and how many are left."""

    name: str
    removed: int
    left: int


@dataclass
class CutFlow:
    """The steps from a file's rows to a sample, in order.

    A step that adds rows (a join of one row with several) has a negative number removed.
    `remarks` are sentences about what no cut removed and is worth a look.
    """

    steps: list[Step] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def start(self, name: str, rows: int) -> None:
        """Begin with `rows` rows."""
        self.steps.append(Step(name, 0, int(rows)))

    def count(self, name: str, rows: int) -> None:
        """Record that `rows` rows are left after the step `name`.

        Raises ``ValueError``, naming the step, where none is left.
        """
        before = self.steps[-1].left
        self.steps.append(Step(name, before - int(rows), int(rows)))
        if rows == 0:
            raise ValueError(
                f"no star is left after the cut '{name}', which removed the last {before}."
            )

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"there is no cut '{name}' (cuts: {', '.join(s.name for s in self)}).")

    @property
    def table(self) -> Table:
        """The steps as a table with the columns ``cut``, ``removed`` and ``left``."""
        rows = [(step.name, step.removed, step.left) for step in self.steps]
        return Table(rows=rows or None, names=("cut", "removed", "left"), dtype=(str, int, int))

    def __str__(self) -> str:
        width = max((len(step.name) for step in self.steps), default=0)
        lines = [f"{'cut':<{width}}  {'removed':>9}  {'left':>9}"]
        lines += [f"{s.name:<{width}}  {s.removed:>9,}  {s.left:>9,}" for s in self.steps]
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])
