"""A report that is read and written on the way."""

from pathlib import Path

from holdfast import step, workflow

FOLDER = Path("reports")


@step
async def total(lines: list[str]) -> int:
    return len(lines)


class Report:
    def __init__(self, name: str) -> None:
        self.path = FOLDER / name

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()  # expect: HF-A022

    def save(self, count: int) -> None:
        with open(self.path.with_suffix(".count"), "w") as file:  # expect: HF-A022
            file.write(str(count))


def archive(where: Path) -> None:
    (where.parent / "archive").mkdir(exist_ok=True)  # expect: HF-A022


@workflow
async def report(name: str) -> int:
    made = Report(name)
    count = await total(made.lines())
    made.save(count)
    archive(made.path)
    return count
