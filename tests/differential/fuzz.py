"""Try the laws of this folder on whatever is drawn, as long as one likes: ``make fuzz MINUTES=10 SEED=1``.

Prints the smallest input that each broken law was found to fail with, and exits with 1 where there is one.
"""

from __future__ import annotations

import argparse
import importlib
import linecache
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent


def laws(only: str) -> list:
    """All laws of the tests beside this file whose names contain a text."""
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
    for file in sorted(HERE.glob("test_*.py")):
        importlib.import_module(file.stem)
    from law import LAWS

    return [law for law in LAWS if only in law.name]


class _OutOfTimeError(BaseException):
    """The time is up in the midst of a law."""


def attempt(law, seed: int, deadline: float, spared: set) -> tuple[str | None, tuple | None]:
    """Try one law with examples drawn from a seed, but on the engines that are spared.

    Returns
    -------
    failure : str or None
        How it fails, by the smallest input found.
    run : tuple or None
        The engine and its method that it fails with, where the law has any.
    """
    from hypothesis import Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st
    from law import CHECKS

    last: dict = {}

    def body(**drawn):
        if time.monotonic() > deadline:
            raise _OutOfTimeError
        last.update(drawn)
        law.body(**drawn)

    body.__name__ = f"test_{law.name}"
    drawn = law.drawn
    if spared:
        drawn = {**drawn, "run": st.sampled_from([run for run in law.runs if run not in spared])}
    test = settings(
        max_examples=law.turn, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=CHECKS, report_multiple_bugs=False, print_blob=False,
    )(given(**drawn)(body))  # fmt: skip
    try:
        seeded(seed)(test)()
    except _OutOfTimeError:
        return None, None
    except Exception as error:
        return told(error), last.get("run")
    return None, None


def told(error: Exception) -> str:
    """The error, the input that hypothesis found, where it was, and what the numbers there were."""
    lines = ["".join(traceback.format_exception_only(error)).rstrip()]
    where = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.parent == HERE and file.name not in ("fuzz.py", "law.py"):
            where = frame, f"{file.name}:{line}: {linecache.getline(str(file), line).strip()}"
    if where is not None:
        lines.append(where[1])
        for name, value in where[0].f_locals.items():
            text = " ".join(repr(value).split())
            lines.append(f"    {name} = {text if len(text) < 400 else text[:400] + ' ...'}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="laws whose names contain this text")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    known = laws(arguments.only)
    if not known:
        print(f"No law is named like {arguments.only!r}.")
        return 2
    broken: dict[str, set] = {}  # the engines that break each law: it goes on with the others
    over: set[str] = set()
    turns, tried = 0, 0
    while time.monotonic() < deadline and len(over) < len(known):
        for law in known:
            if law.name in over or time.monotonic() > deadline:
                continue
            spared = broken.get(law.name, set())
            failure, run = attempt(law, 1_000_003 * arguments.seed + turns, deadline, spared)
            tried += law.turn
            if failure:
                broken[law.name] = spared | {run}
                if run is None or len(broken[law.name]) == len(law.runs):
                    over.add(law.name)
                print(f"\n--- {law.name} (seed {arguments.seed}, turn {turns}) does not hold:\n{failure}\n")
            left = max(0.0, deadline - time.monotonic()) / 60
            print(
                f"turn {turns}: {tried} examples, {len(broken)} of {len(known)} laws broken, "
                f"{left:.1f} minutes left  [{law.name}]",
                flush=True,
            )
        turns += 1
    if not broken:
        print("\nAll laws held.")
        return 0
    print("\nBroken:")
    for name, runs in broken.items():
        print(f"  {name}: {', '.join(sorted((run[1] or run[0]) for run in runs if run)) or 'always'}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
